"""Reads the folder that ``tools/embed_catalog.py`` writes, as rows and vectors."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eclip_mm.embedding.job import MANIFEST, SUMMARY
from eclip_mm.index.attribute_columns import read_attribute_columns
from eclip_mm.index.extra_columns import check_names, read_columns

#: products that are read at a time
_BATCH = 4096


class FeatureFolder:
    """One feature of a catalogue: a vector for each picture, or for each product.

    Args:
        path: the folder.
        feature: ``image``, ``instance`` or ``text``.
        columns: files whose columns become columns of the rows, see :func:`read_columns`.
        attributes: attributes of products that become columns, see
            :func:`read_attribute_columns`.

    Attributes:
        checkpoint_sha256: hash of the weights that made the features.
        per: ``picture`` if the folder has features of pictures, otherwise ``product``.
        schema: columns of the rows: those of the shards without vectors, then ``picture`` and
            ``source`` (null for products), then those of ``columns`` and ``attributes``.
        dims: width D of the vectors.
        num_products: number of products.

    Raises:
        FileNotFoundError: the folder has no finished features.
        ValueError: it does not have the feature, or a file of ``columns`` does not fit.
    """

    def __init__(
        self,
        path: str | Path,
        feature: str = 'image',
        columns: Sequence[str | Path] = (),
        attributes: Sequence[str] | Mapping[str, pa.DataType] = (),
    ) -> None:
        self.path, self.feature = Path(path), feature
        for name in (MANIFEST, SUMMARY):
            if not (self.path / name).is_file():
                raise FileNotFoundError(
                    f'{self.path / name} is missing: this is no folder of tools/embed_catalog.py, '
                    'or its run has not finished; repeat its command'
                )
        manifest = json.loads((self.path / MANIFEST).read_text(encoding='utf-8'))
        self.checkpoint_sha256 = manifest['checkpoint_sha256']
        self._shards = sorted(self.path.glob('features-*.parquet'))
        count = json.loads((self.path / SUMMARY).read_text(encoding='utf-8'))['shards']
        if not self._shards or len(self._shards) != count:
            raise FileNotFoundError(
                f'{self.path} has {len(self._shards)} of {count} shards; repeat the command of '
                'tools/embed_catalog.py'
            )
        tables = dict(zip(columns, read_columns(columns), strict=True))
        if attributes:
            tables['--attributes'] = read_attribute_columns(self._shards, attributes)
        check_names(tables)
        self._columns = list(tables.values())
        stored = pq.read_schema(self._shards[0])
        pictures = stored.field('pictures').type.value_type if 'pictures' in stored.names else ()
        name = f'{feature}_feat'
        self.per = 'picture' if name in [field.name for field in pictures] else 'product'
        if self.per == 'product' and name not in stored.names:
            raise ValueError(
                f'{self.path} has no feature {feature!r}; name it in --features of '
                'tools/embed_catalog.py'
            )
        empty, vectors = self._rows(pa.RecordBatch.from_pylist([], schema=stored))
        self.schema, self.dims = empty.schema, vectors.shape[1]
        self.num_products = sum(pq.read_metadata(path).num_rows for path in self._shards)

    def blocks(
        self, done: Callable[[int], object] = lambda count: None
    ) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Rows, and their unit vectors (n, D) float32.

        Args:
            done: called with the number of products of each block when it has been used.

        Raises:
            ValueError: a vector is zero or not finite.
        """
        for path in self._shards:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH):
                    rows, vectors = self._rows(batch)
                    yield rows, unit_vectors(vectors, path)
                    done(len(batch))

    def _rows(self, batch: pa.RecordBatch) -> tuple[pa.Table, np.ndarray]:
        table = pa.Table.from_batches([batch])
        flat = [
            n for n in table.column_names if not pa.types.is_nested(table.schema.field(n).type)
        ]
        rows, name = table.select(flat), f'{self.feature}_feat'
        if self.per == 'picture':
            lists = batch.column('pictures')
            rows = rows.take(pc.list_parent_indices(lists))
            pictures = dict(
                zip(_names(lists.type.value_type), lists.flatten().flatten(), strict=True)
            )
            vectors, number, source = pictures[name], pictures['picture'], pictures['source']
        else:
            vectors = batch.column(name)
            number, source = pa.nulls(len(rows), pa.int32()), pa.nulls(len(rows), pa.string())
        rows = rows.append_column('picture', number).append_column('source', source)
        for columns in self._columns:
            place = pc.index_in(rows['product_id'], columns['product_id'])
            for column in columns.column_names:
                if column != 'product_id':
                    rows = rows.append_column(column, columns[column].take(place))
        values = vectors.flatten().to_numpy(zero_copy_only=False)
        return rows, values.reshape(-1, vectors.type.list_size)


def unit_vectors(vectors, origin: str | Path) -> np.ndarray:
    """Normalise vectors (n, D) in float64; the result is float32.

    Raises:
        ValueError: one of them is zero or not finite; ``origin`` is named.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = ~(np.isfinite(norm[:, 0]) & (norm[:, 0] > 0))
    if bad.any():
        raise ValueError(f'{origin}: vector {int(bad.argmax())} is zero or not finite')
    return (vectors / norm).astype(np.float32)


def _names(struct: pa.StructType) -> list[str]:
    return [field.name for field in struct]
