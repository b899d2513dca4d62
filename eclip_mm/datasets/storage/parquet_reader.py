"""A Parquet catalogue, opened for random access to rows."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mmengine.logging import print_log

from eclip_mm.datasets.storage.parquet_check import (
    UNREADABLE,
    broken_group,
    check_columns,
    check_group,
    leaf_names,
    without_boxes,
)
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError, CheckedRow

# Stands for picture bytes that exist but were not read while scanning.
_NOT_READ = b'not read'


class ParquetShard:
    """A ``.parquet`` file; the row group of a row is decoded when it is asked for.

    The file is memory-mapped. Decoded row groups are kept as Arrow buffers up
    to ``cache_bytes`` per process, so small catalogues are decoded once and
    large ones cost one small row group per sample.

    Args:
        path: The file.
        cache_bytes: Most bytes of decoded row groups to keep.

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
        self._forget()
        try:
            file = self._open()
        except (pa.ArrowException, OSError) as error:
            raise CatalogueError(
                f'{path}: is not a readable Parquet file ({error}); write it again'
            ) from error
        self._leaves = leaf_names(file)
        check_columns(file.schema_arrow, path)
        self._bytes_leaf = next(
            (
                leaf
                for leaf in self._leaves
                if leaf.startswith('images.') and leaf.endswith('.bytes')
            ),
            None,
        )
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._group_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._warn_if_coarse(file)

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        for name in ('_file', '_cache', '_cached_bytes'):
            del state[name]
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._file = None
        self._forget()

    def _forget(self) -> None:
        self._cache: OrderedDict[tuple[int, bool], pa.Table] = OrderedDict()
        self._cached_bytes = 0

    def _open(self) -> pq.ParquetFile:
        if self._file is None:
            self._file = pq.ParquetFile(
                self.path, memory_map=True, page_checksum_verification=True
            )
        return self._file

    def _warn_if_coarse(self, file: pq.ParquetFile) -> None:
        sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)]
        if sizes and max(sizes) > self.max_row_group_bytes and sum(sizes) > self.cache_bytes:
            print_log(
                f'{self.path}: a row group holds {max(sizes) / 2**20:.0f} MiB, and reading a '
                'single product decodes all of it. Rewrite the file with small row groups: '
                f'python tools/dataset_converters/jsonl_parquet.py {self.path} OUT.parquet',
                logger='current',
                level=logging.WARNING,
            )

    def scan(self) -> Iterator[tuple[int, int, dict | CheckedRow | BrokenGroupError]]:
        """Yield (row index, row number from 1, row).

        Picture bytes are not read. Rows of a group without a fault have been
        checked all at once and come as :class:`CheckedRow`; those of a group
        that cannot be read as the error that says so.
        """
        file = self._open()
        columns = [leaf for leaf in self._leaves if leaf != self._bytes_leaf]
        for group in range(file.num_row_groups):
            try:
                table = file.read_row_group(group, columns=columns, use_threads=False)
                sizes = self._picture_sizes(file, group, table)
                rows = None
                if sizes is None and self._bytes_leaf is not None:
                    rows = check_group(table)
                if rows is None:
                    rows = self._rows_to_check(table, sizes)
            except UNREADABLE as error:
                rows = [self._broken(group, error)] * int(np.diff(self._group_start)[group])
            for i, row in enumerate(rows):
                index = int(self._group_start[group]) + i
                yield index, index + 1, row

    def _rows_to_check(self, table: pa.Table, sizes: list | None) -> list[dict]:
        rows = table.to_pylist()
        for i, row in enumerate(rows):
            for j, image in enumerate(row['images'] or ()):
                if image is None or self._bytes_leaf is None:
                    continue
                if sizes is None or sizes[i][j]:
                    image['bytes'] = _NOT_READ
        return rows

    def _picture_sizes(self, file: pq.ParquetFile, group: int, table: pa.Table) -> list | None:
        """Bytes of every picture of a row group; None when all pictures have some.

        Statistics tell. Our own writer leaves them out (they would hold whole
        pictures) and has checked that a picture without a path has bytes; of
        other files without statistics that is taken for granted as well, and a
        picture that has neither is met when it is loaded.
        """
        if self._bytes_leaf is None:
            return None
        chunk = file.metadata.row_group(group).column(self._leaves.index(self._bytes_leaf))
        statistics = chunk.statistics
        if statistics is not None and statistics.has_null_count:
            all_have_bytes = statistics.null_count == 0
        else:
            pictures = table['images'].combine_chunks().flatten()
            names = {field.name for field in pictures.type}
            paths = pc.struct_field(pictures, 'path') if 'path' in names else None
            all_have_bytes = paths is None or paths.null_count == len(paths)
        if all_have_bytes:
            return None
        images = file.read_row_group(group, columns=[self._bytes_leaf], use_threads=False)[
            'images'
        ].combine_chunks()
        lengths = pc.binary_length(pc.struct_field(images.flatten(), 'bytes')).to_pylist()
        counts = pc.fill_null(pc.list_value_length(images), 0).to_pylist()
        ends = np.cumsum(counts)
        return [lengths[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def _group(self, group: int, boxes: bool) -> pa.Table:
        key = (group, boxes)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        columns = None if boxes else without_boxes(self._leaves)
        # One thread: Arrow's pool does not survive a fork in the middle of work.
        try:
            table = self._open().read_row_group(group, columns=columns, use_threads=False)
        except UNREADABLE as error:
            raise self._broken(group, error) from error
        self._cache[key] = table
        self._cached_bytes += table.nbytes
        while len(self._cache) > 1 and self._cached_bytes > self.cache_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return table

    def _broken(self, group: int, error: Exception) -> BrokenGroupError:
        first, end = self._group_start[group : group + 2].tolist()
        return broken_group(self.path, group, first, end - first, error)

    def load(self, row: int, images: Sequence[int], boxes: bool = True) -> dict:
        """Decode one row, with the chosen images only.

        Raises:
            BrokenGroupError: Its row group cannot be read.
        """
        group = int(np.searchsorted(self._group_start, row, side='right')) - 1
        table = self._group(group, boxes)
        at = row - int(self._group_start[group])
        loaded = {
            name: table.column(name)[at].as_py() for name in table.column_names if name != 'images'
        }
        pictures = table.column('images')[at].values
        loaded['images'] = [
            {key: value for key, value in pictures[i].as_py().items() if value is not None}
            for i in images
        ]
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
