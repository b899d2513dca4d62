"""The two file formats of a catalogue, opened for random access to rows."""

import json
import logging
import mmap
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mmengine.logging import print_log

from .schema import IMAGE_KEYS, ROW_KEYS, CatalogueError

# Shared by writer and reader. Spark, BigQuery and `datasets` write the same
# nesting, sometimes with large_* types, which the reader takes as well.
PARQUET_SCHEMA = pa.schema([
    pa.field('product_id', pa.string(), nullable=False),
    pa.field('text', pa.string(), nullable=False),
    pa.field('category', pa.string()),
    pa.field('images', pa.list_(pa.struct([
        pa.field('path', pa.string()),
        pa.field('bytes', pa.binary()),
        pa.field('source', pa.string()),
        pa.field('boxes', pa.list_(pa.struct([
            pa.field('bbox', pa.list_(pa.float32())),
            pa.field('product_id', pa.string()),
        ]))),
    ]))),
])

# Stands for picture bytes that exist but were not read while scanning.
_NOT_READ = b'not read'


class JsonLinesFile:
    """A ``.jsonl`` file; a line is parsed when its row is asked for.

    Args:
        path (Path): The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.absolute().parent
        self._starts = array('q')
        self._map = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_map': None}

    def scan(self) -> Iterator[tuple[int, int, dict | Exception]]:
        """Yield (row index, line number from 1, row or why it cannot be parsed)."""
        with open(self.path, 'rb') as file:
            start = 0
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._starts.append(start)
                    yield len(self._starts) - 1, number, self._parse_or_error(line)
                start += len(line)

    @staticmethod
    def _parse_or_error(line: bytes) -> dict | Exception:
        try:
            return _parse(line)
        except ValueError as error:
            hint = ('; the file looks like one JSON array: write one object a line'
                    if line.lstrip()[:1] == b'[' else '; write one JSON object a line')
            return ValueError(f'the line is not JSON ({error}){hint}')

    def load(self, row: int, images: Sequence[int]) -> dict:
        """Parse one row, with the chosen images only."""
        if self._map is None:
            with open(self.path, 'rb') as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = self._starts[row]
        end = self._map.find(b'\n', start)
        parsed = _parse(self._map[start:end if end >= 0 else len(self._map)])
        parsed['images'] = [_without_none(parsed['images'][i]) for i in images]
        return parsed

    def column(self, name: str, rows: np.ndarray) -> Iterator:
        """Yield one field of the given rows."""
        for row in rows:
            yield self.load(int(row), ()).get(name)


def _parse(line: bytes) -> dict:
    return json.loads(line.decode('utf-8-sig'))


class ParquetShard:
    """A ``.parquet`` file; the row group of a row is decoded when it is asked for.

    The file is memory-mapped. Decoded row groups are kept as Arrow buffers up
    to ``cache_bytes`` per process, so small catalogues are decoded once and
    large ones cost one small row group per sample.

    Args:
        path (Path): The file.
        cache_bytes (int): Most bytes of decoded row groups to keep.

    Raises:
        CatalogueError: It is not a Parquet file, a column is missing or one
            is not of the schema.
    """

    # Beyond this, reading a single row decodes too much; see `_warn_if_coarse`.
    max_row_group_bytes = 32 * 2**20

    def __init__(self, path: Path, cache_bytes: int = 256 * 2**20) -> None:
        self.path = path
        self.folder = path.absolute().parent
        self.cache_bytes = cache_bytes
        self._file = None
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        try:
            file = self._open()
        except (pa.ArrowException, OSError) as error:
            raise CatalogueError(f'{path}: is not a readable Parquet file ({error}); '
                                 'write it again') from error
        self._leaves = [file.schema.column(i).path for i in range(len(file.schema))]
        self._check_columns(file.schema_arrow)
        self._bytes_leaf = next(
            (leaf for leaf in self._leaves
             if leaf.startswith('images.') and leaf.endswith('.bytes')), None)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._group_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._warn_if_coarse(file)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_file': None, '_cache': OrderedDict()}

    def _open(self) -> pq.ParquetFile:
        if self._file is None:
            self._file = pq.ParquetFile(self.path, memory_map=True)
        return self._file

    def _check_columns(self, schema: pa.Schema) -> None:
        missing = [key for key in ROW_KEYS if key != 'category' and key not in schema.names]
        if missing:
            raise CatalogueError(
                f'{self.path}: has no column {missing[0]!r}; a catalogue has the columns '
                f'{", ".join(ROW_KEYS)}, this file has {", ".join(schema.names)}')
        unknown = [name for name in schema.names if name not in ROW_KEYS]
        if unknown:
            raise CatalogueError(
                f'{self.path}: has the unknown column {unknown[0]!r}; remove it or correct its '
                f'name (known: {", ".join(ROW_KEYS)})')
        kind = schema.field('images').type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) \
                or not pa.types.is_struct(kind.value_type):
            raise CatalogueError(
                f"{self.path}: column 'images' is {kind}; it must be a list of structs with the "
                f'fields {", ".join(IMAGE_KEYS)}')

    def _warn_if_coarse(self, file: pq.ParquetFile) -> None:
        metadata = file.metadata
        largest = max(
            (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)),
            default=0)
        total = sum(
            metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        if largest > self.max_row_group_bytes and total > self.cache_bytes:
            print_log(
                f'{self.path}: a row group holds {largest / 2**20:.0f} MiB, and reading a single '
                'product decodes all of it. Rewrite the file with small row groups: python '
                f'tools/dataset_converters/jsonl_parquet.py {self.path} OUT.parquet',
                logger='current', level=logging.WARNING)

    def scan(self) -> Iterator[tuple[int, int, dict]]:
        """Yield (row index, row number from 1, row whose picture bytes are not read)."""
        file = self._open()
        columns = [leaf for leaf in self._leaves if leaf != self._bytes_leaf]
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=columns, use_threads=False).to_pylist()
            sizes = self._picture_sizes(file, group)
            for i, row in enumerate(rows):
                index = int(self._group_start[group]) + i
                for j, image in enumerate(row['images'] or ()):
                    if image is not None and self._bytes_leaf is not None \
                            and (sizes is None or sizes[i][j]):
                        image['bytes'] = _NOT_READ
                yield index, index + 1, row

    def _picture_sizes(self, file: pq.ParquetFile, group: int) -> list | None:
        """Bytes of every picture of a row group; None when there is none to check."""
        if self._bytes_leaf is None:
            return None
        chunk = file.metadata.row_group(group).column(self._leaves.index(self._bytes_leaf))
        statistics = chunk.statistics
        if statistics is not None and statistics.has_null_count and statistics.null_count == 0:
            return None
        images = file.read_row_group(
            group, columns=[self._bytes_leaf], use_threads=False)['images'].combine_chunks()
        lengths = pc.binary_length(pc.struct_field(images.flatten(), 'bytes')).to_pylist()
        counts = pc.fill_null(pc.list_value_length(images), 0).to_pylist()
        ends = np.cumsum(counts)
        return [lengths[end - count:end] for end, count in zip(ends, counts, strict=True)]

    def _group(self, group: int) -> pa.Table:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        # One thread: Arrow's pool does not survive a fork in the middle of work.
        table = self._open().read_row_group(group, use_threads=False)
        self._cache[group] = table
        while len(self._cache) > 1 and \
                sum(t.nbytes for t in self._cache.values()) > self.cache_bytes:
            self._cache.popitem(last=False)
        return table

    def load(self, row: int, images: Sequence[int]) -> dict:
        """Decode one row, with the chosen images only."""
        group = int(np.searchsorted(self._group_start, row, side='right')) - 1
        table = self._group(group)
        at = row - int(self._group_start[group])
        loaded = {
            name: table.column(name)[at].as_py() for name in table.column_names
            if name != 'images'}
        pictures = table.column('images')[at].values
        loaded['images'] = [_without_none(pictures[i].as_py()) for i in images]
        return loaded

    def column(self, name: str, rows: np.ndarray) -> Iterator:
        """Yield one field of the given rows."""
        file = self._open()
        if name not in self._leaves:
            yield from (None for _ in rows)
            return
        groups = np.searchsorted(self._group_start, rows, side='right') - 1
        for group in np.unique(groups):
            values = file.read_row_group(int(group), columns=[name], use_threads=False)[name]
            wanted = rows[groups == group] - self._group_start[group]
            yield from values.take(pa.array(wanted)).to_pylist()


def _without_none(image: dict) -> dict:
    return {key: value for key, value in image.items() if value is not None}
