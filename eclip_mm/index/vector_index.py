"""The exact index of a catalogue: memory-mapped vectors and the rows that they belong to."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eclip_mm.index.conditions import (
    Condition,
    different_values,
    rows_that_meet,
    type_of_column,
    typed_conditions,
)
from eclip_mm.index.feature_folder import FeatureFolder, unit_vectors
from eclip_mm.index.files import FORMAT, IndexFiles
from eclip_mm.index.ranking import (
    best_of_groups,
    check_search,
    check_weights,
    nearest_in_blocks,
    nearest_rows,
    recall_of,
)
from eclip_mm.utils.spread import spread_indices

DTYPES = ('float32', 'float16')
#: rows that are searched for to measure recall, and the share 1 / n that the filter keeps
RECALL_QUERIES, RECALL_FILTER = 200, 100


class VectorIndex:
    """Searches the features of a catalogue, exactly.

    An index that another process changes stays as it was opened; open it again to see the change.

    Args:
        folder: the folder that :meth:`build` has written.

    Attributes:
        folder: the folder.
        name: the folder, for errors.
        manifest: what the index is made of: ``checkpoint_sha256`` of the weights, ``feature``,
            ``per``, ``dims``, ``dtype``, ``recall``, and the names of its files.

    Raises:
        FileNotFoundError: the folder has no index.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.name = Path(folder), str(folder)
        self._files = IndexFiles(folder)
        self._open()

    def _open(self) -> None:
        for last in (False, False, True):
            self.manifest = self._files.manifest()
            try:
                self._vectors, self._rows, self._removed = self._files.read(self.manifest)
                break
            except FileNotFoundError:  # replaced since the manifest was read
                if last:
                    raise
        self._products = None

    @classmethod
    def build(
        cls,
        folder: str | Path,
        features: str | Path,
        feature: str = 'image',
        columns: Sequence[str | Path] = (),
        dtype: str = 'float32',
        attributes: Sequence[str] = (),
        progress: Callable[[int, int], object] = lambda count, total: None,
    ) -> 'VectorIndex':
        """Build an index, or replace the one in the folder when the new one is complete.

        The recall that it measures is in ``manifest['recall']``: the share of the ten nearest
        neighbours of 200 rows that it finds, without a filter and with one that keeps 1%.

        Args:
            folder: folder of the index.
            features, feature, columns, attributes: see :class:`FeatureFolder`.
            dtype: ``float16`` takes half the space; its rounding moves scores by about 0.0003.
            progress: called with the number of products that have been read since the last call,
                and with the total, three times those of the folder: recall is measured twice.

        Raises:
            ValueError: the type is unknown, or see :class:`FeatureFolder`.
        """
        if dtype not in DTYPES:
            raise ValueError(f'dtype is one of {", ".join(DTYPES)}, got {dtype!r}')
        source = FeatureFolder(features, feature, columns, attributes)
        files = IndexFiles(folder)

        def done(count: int) -> None:
            progress(count, 3 * source.num_products)

        with files.writing():
            try:
                generation = files.manifest()['generation'] + 1
            except FileNotFoundError:
                generation = 1
            manifest = dict(
                format=FORMAT,
                generation=generation,
                checkpoint_sha256=source.checkpoint_sha256,
                feature=feature,
                per=source.per,
                dims=source.dims,
                dtype=dtype,
                attributes=list(attributes),
                num_rows=0,
                vectors=f'vectors-{generation:06d}.bin',
                rows=[],
                removed=None,
            )
            manifest = files.append(manifest, source.blocks(done), source.schema)
            manifest['recall'] = _measure(files.read(manifest)[0], source, done)
            files.commit(manifest)
        return cls(folder)

    def __len__(self) -> int:
        return len(self._vectors) - len(self._removed)

    @property
    def schema(self) -> pa.Schema:
        """The columns that hits have and that conditions may name."""
        return self._rows.schema

    def add(self, features: str | Path, columns: Sequence[str | Path] = ()) -> int:
        """Add the rows of another folder of features; products that are there are replaced.

        Returns:
            Number of rows that were added.

        Raises:
            ValueError: the features are of other weights or another kind, or have other columns.
        """
        # the types that their columns have here; an index of an older version has none
        attributes = self.manifest.get('attributes', ())
        attributes = {name: self.schema.field(name).type for name in attributes}
        source = FeatureFolder(features, self.manifest['feature'], columns, attributes)
        with self._files.writing():
            self._open()
            for key in ('checkpoint_sha256', 'per', 'dims'):
                if getattr(source, key) != self.manifest[key]:
                    raise ValueError(
                        f'{features}: {key} is {getattr(source, key)}, and that of the index in '
                        f'{self.folder} is {self.manifest[key]}; they cannot be mixed'
                    )
            if source.schema.names != self.schema.names:
                raise ValueError(
                    f'{features}: the columns are {", ".join(source.schema.names)}, and the index '
                    f'has {", ".join(self.schema.names)}; give the same --columns'
                )
            manifest = dict(self.manifest, generation=self.manifest['generation'] + 1)
            manifest = self._files.append(manifest, source.blocks(), self.schema)
            start = len(self._vectors)
            new = self._files.read(manifest)[1].slice(start)['product_id']
            removed = self._with_removed(new)
            self._files.commit(self._files.remove(manifest, removed))
            self._open()
        return len(self._vectors) - start

    def remove(self, product_ids: Iterable[str]) -> int:
        """Remove products; ids that are not there are ignored. Returns the number of rows.

        Building the index again frees their space.
        """
        with self._files.writing():
            self._open()
            removed = self._with_removed(pa.array(list(product_ids), pa.string()))
            count = len(removed) - len(self._removed)
            if count:
                manifest = dict(self.manifest, generation=self.manifest['generation'] + 1)
                self._files.commit(self._files.remove(manifest, removed))
                self._open()
        return count

    def _with_removed(self, product_ids) -> np.ndarray:
        gone = pc.is_in(self._rows['product_id'], pa.array(pc.unique(product_ids)))
        return np.union1d(self._removed, np.flatnonzero(gone.to_numpy()))

    def search(
        self,
        vectors,
        k: int = 10,
        where: Sequence[Condition | str] | str | None = None,
        per: str = 'product',
        checkpoint_sha256: str | None = None,
    ) -> list[list[dict]]:
        """Find the nearest products or pictures of each vector.

        Args:
            vectors: (n, D) queries.
            k: number of hits.
            where: conditions that all hits meet, such as ``'price<20'`` or
                ``('category', 'in', ['shoes', 'boots'])``.
            per: ``product`` gives one hit for each product, its best picture; ``row`` gives every
                row.
            checkpoint_sha256: weights that made the queries.

        Returns:
            For each query its hits, best first: ``score``, the cosine similarity, and the columns
            of the row. Fewer than k if fewer rows meet the conditions.

        Raises:
            ValueError: the queries are of other weights or another width, or a condition, ``k``
                or ``per`` is wrong.
        """
        if checkpoint_sha256 is not None:
            self.check_model(checkpoint_sha256)
        queries = unit_vectors(np.atleast_2d(vectors), 'queries')
        check_search(queries, self._vectors.shape[1], k, per)
        ids = self._ids(where)
        groups = self._groups() if per == 'product' else np.arange(len(self._vectors))
        found = best_of_groups(
            lambda some, n: nearest_rows(queries[some], self._vectors, n, ids),
            len(queries),
            groups,
            k,
            len(self._vectors) if ids is None else len(ids),
        )
        return [self._hits(hits) for hits in found]

    def check_model(self, checkpoint_sha256: str) -> None:
        """Refuse the queries of other weights.

        Raises:
            ValueError: the weights are not those of the index.
        """
        check_weights(self.folder, self.manifest['checkpoint_sha256'], checkpoint_sha256)

    def values_of(self, column: str) -> list:
        """The different values of a column, sorted and without null, such as all categories.

        Of a column of lists these are the elements.

        Raises:
            ValueError: the column is unknown.
        """
        type_of_column(column, self.schema)
        ids = self._ids(None)
        values = self._rows[column] if ids is None else self._rows[column].take(pa.array(ids))
        return sorted(different_values(values))

    def vectors_of(self, product_id: str) -> np.ndarray:
        """The vectors (n, D) float32 of a product, for a search of what is like it.

        Raises:
            KeyError: the product is not in the index.
        """
        ids = self._ids([('product_id', '=', product_id)])
        if not len(ids):
            raise KeyError(f'{self.folder} has no product_id {product_id!r}')
        return np.asarray(self._vectors[ids], dtype=np.float32)

    def blocks(self, size: int = 4096) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """All rows and their vectors (n, D) float32, ``size`` at a time."""
        ids = self._ids(None)
        ids = np.arange(len(self._vectors)) if ids is None else ids
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            yield self._rows.take(pa.array(part)), self._vectors[part].astype(np.float32)

    def _ids(self, where) -> np.ndarray | None:
        mask = rows_that_meet(typed_conditions(where, self.schema), self._rows)
        if mask is None and not len(self._removed):
            return None
        chosen = np.ones(len(self._rows), bool) if mask is None else mask.to_numpy().copy()
        chosen[self._removed] = False
        return np.flatnonzero(chosen)

    def _groups(self) -> np.ndarray:
        if self._products is None:
            ids = self._rows['product_id'].combine_chunks()
            self._products = ids.dictionary_encode().indices.to_numpy()
        return self._products

    def _hits(self, hits: list[tuple[float, int]]) -> list[dict]:
        rows = self._rows.take(pa.array([row for _, row in hits], pa.int64())).to_pylist()
        return [dict(score=score, **row) for (score, _), row in zip(hits, rows, strict=True)]


def _measure(vectors: np.ndarray, source: FeatureFolder, done: Callable[[int], None]) -> dict:
    """Recall of ten neighbours against the features as they were, before any rounding."""
    own = np.array(spread_indices(len(vectors), RECALL_QUERIES), dtype=np.int64)
    queries = np.asarray(vectors[own], dtype=np.float32)
    result = dict(k=10, queries=len(own))
    for key, every in (('all', 1), ('filtered', RECALL_FILTER)):
        truth = nearest_in_blocks(queries, (block for _, block in source.blocks(done)), 11, every)
        ids = None if every == 1 else np.arange(0, len(vectors), every)
        found = nearest_rows(queries, vectors, 11, ids)[1]
        result[key] = round(recall_of(found, truth, own), 4)
    return result
