"""A Parquet file of a catalogue: checked row by row, read at random or from front to back."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.logging import print_log

from eclip_mm.datasets.storage.parquet_check import (
    UNREADABLE,
    check_group,
    is_bytes,
    without_bytes,
)
from eclip_mm.datasets.storage.parquet_rows import to_rows
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.schema import CheckedRow
from eclip_mm.datasets.storage.stored_files import StoredFile, is_unreachable
from eclip_mm.datasets.storage.tidy import tidy_image, tidy_row

# Stands for picture bytes that exist but were not read while scanning.
_NOT_READ = b'not read'
# Rows in memory at a time where a file is read from front to back. Batches are counted from the
# beginning of their row group, so that the rows that damage costs depend neither on which rows are
# asked for nor on how many at a time.
BATCH_ROWS = 64


class ParquetCatalogueFile:
    """A ``.parquet`` file of a catalogue.

    A local file is mapped to memory. Row groups that are read at random are kept decoded, up to
    ``cache_bytes`` per process: small catalogues are decoded once, and large ones cost one small
    row group per sample.

    Args:
        file: the file.
        cache_bytes: decoded row groups to keep, in bytes.

    Raises:
        CatalogueError: it is not a Parquet file, a column is missing or one is not of the schema.
    """

    # Beyond this, reading a single row decodes too much; see `warn_if_coarse`.
    max_row_group_bytes = 32 * 2**20

    def __init__(self, file: StoredFile, cache_bytes: int = 256 * 2**20) -> None:
        self.file = file
        self.reader = RowGroupReader([file], memory_map=True, cache_bytes=cache_bytes)

    def warn_if_coarse(self) -> None:
        """Warn where reading a row costs much, and say how to rewrite the file."""
        sizes = self.reader.num_bytes
        largest = sizes.max(initial=0)
        if largest > self.max_row_group_bytes and sizes.sum() > self.reader.cache_bytes:
            print_log(
                f'{self.file}: a row group holds {largest / 2**20:.0f} MiB, and reading a '
                'single product decodes all of it. Rewrite the file with small row groups: '
                f'python tools/dataset_converters/jsonl_parquet.py {self.file} OUT.parquet',
                logger='current',
                level=logging.WARNING,
            )

    def scan(self) -> Iterator[tuple[int, int, dict | CheckedRow | Exception]]:
        """Yield (row index, row number from 1, row).

        Picture bytes are not read. The rows of a group without a fault are checked all at once and
        yielded as :class:`CheckedRow`; a row that cannot be read, alone or with its group, as the
        reason.
        """
        for group, size in enumerate(self.reader.sizes.tolist()):
            if not size:  # its columns may be any
                continue
            try:
                rows = self._scan_group(group)
            except UNREADABLE as error:
                rows = [self.reader.broken(group, error)] * size
            first = self.reader.first_row(group)
            yield from ((i, i + 1, row) for i, row in enumerate(rows, first))

    def _scan_group(self, group: int) -> list[dict | CheckedRow | Exception]:
        table = self.reader.read_columns(group, without_bytes)
        has_bytes = self._have_bytes(group, table)
        checked = check_group(table) if has_bytes.all() else None
        if checked is not None:
            return checked
        rows, at = to_rows(table), 0
        counts = pc.fill_null(pc.list_value_length(table['images']), 0).to_pylist()
        for row, count in zip(rows, counts, strict=True):
            if isinstance(row, dict):
                has = has_bytes[at : at + count]
                for i, image in enumerate(row['images'] or ()):
                    if has[i] and image is not None:
                        image['bytes'] = _NOT_READ
            at += count
        return [tidy_row(row) for row in rows]

    def _have_bytes(self, group: int, table: pa.Table) -> np.ndarray:
        """(P,) whether each picture of a row group has bytes.

        If statistics say that all have some, the bytes are not read. Our own writer leaves
        statistics out (they would hold whole pictures) and has checked that a picture without a
        path has bytes. For other files without statistics that is assumed as well, and a picture
        that has neither is found when it is loaded.
        """
        pictures = table['images'].combine_chunks().flatten()
        names = {field.name for field in pictures.type}
        footer = self.reader.footer(group)
        columns = map(footer.column, range(footer.num_columns))
        column = next((c for c in columns if is_bytes(c.path_in_schema)), None)
        if column is None:
            return np.zeros(len(pictures), dtype=bool)
        statistics = column.statistics
        if statistics is not None and statistics.has_null_count:
            all_have_bytes = statistics.null_count == 0 and (
                not statistics.has_min_max or statistics.min != b''
            )
        else:
            paths = pc.struct_field(pictures, 'path') if 'path' in names else None
            all_have_bytes = paths is None or paths.null_count == len(paths)
        if all_have_bytes:
            return np.ones(len(pictures), dtype=bool)
        chunks = self.reader.read_columns(group, _only_bytes)['images'].chunks
        lengths = [pc.binary_length(pc.struct_field(chunk.flatten(), 'bytes')) for chunk in chunks]
        return np.concatenate([pc.fill_null(length, 0).to_numpy() > 0 for length in lengths])

    def load(self, row: int, images: Sequence[int], boxes: bool = True) -> dict:
        """Decode one row, with the chosen images only.

        Raises:
            BrokenGroupError: its row group cannot be read.
        """
        group = int(self.reader.group_of(row))
        table = self.reader.read(group, boxes)
        at = row - self.reader.first_row(group)
        loaded = tidy_row(
            {
                name: table.column(name)[at].as_py()
                for name in table.column_names
                if name != 'images'
            }
        )
        pictures = table.column('images')[at].values
        loaded['images'] = [tidy_image(pictures[i].as_py()) for i in images]
        return loaded

    def column(self, name: str, rows: np.ndarray) -> Iterator:
        """Yield one field of the given rows, which ascend."""
        groups = self.reader.group_of(rows)
        for group in np.unique(groups).tolist():
            wanted = rows[groups == group] - self.reader.first_row(group)
            table = self.reader.read_columns(group, partial(_leaves_of, name))
            if name in table.column_names:
                values = table[name].take(pa.array(wanted)).to_pylist()
                yield from (tidy_row({name: value}).get(name) for value in values)
            else:
                yield from (None for _ in wanted)

    def divide(self, num_rows: int) -> tuple[int, list[list[int]]]:
        """As :meth:`JsonLinesFile.divide`; the first row suffices, so no byte is given but 0."""
        total = self.reader.num_rows
        return total, [[0, min(num_rows, total - at)] for at in range(0, total, num_rows)]

    def read_spans(
        self, spans: Iterable[tuple[int, int]], start: int = 0, offset: int = 0
    ) -> Iterator[list[tuple[int, dict | Exception]]]:
        """As :meth:`JsonLinesFile.read_spans`, without boxes; ``start`` and ``offset`` are unused.

        At most ``BATCH_ROWS`` rows are in memory. A row group is decoded once, and up to the last
        row that is asked for.

        Raises:
            BrokenGroupError: the file system does not answer.
        """
        group = None
        for start, stop in spans:
            rows, stop = [], min(stop, self.reader.num_rows)
            while start < stop:
                if (wanted := int(self.reader.group_of(start))) != group:
                    group, batches = wanted, self._batches(wanted)
                    first, batch = next(batches)
                while start >= first + len(batch):
                    first, batch = next(batches)
                part = batch[start - first : stop - first]
                found = part if isinstance(part, list) else map(tidy_row, to_rows(part))
                rows += enumerate(found, start + 1)
                start += len(part)
            yield rows

    def _batches(self, group: int) -> Iterator[tuple[int, pa.Table | list[Exception]]]:
        """First row and content of each batch; rows from a damage on as the reason."""
        first, end = (self.reader.first_row(g) for g in (group, group + 1))
        reason = 'it has fewer rows than it says'
        try:
            for batch in self.reader.batches(group, BATCH_ROWS):
                yield first, batch
                first += len(batch)
        except UNREADABLE as error:
            if is_unreachable(error):  # rows are not lost for a network that fails
                raise self.reader.broken(group, error) from error
            reason = error
        problem = ValueError(f'row group {group} of the file cannot be read ({reason})')
        yield first, [problem] * (end - first)


def _leaves_of(name: str, leaves: list[str]) -> list[str]:
    return [leaf for leaf in leaves if leaf.split('.')[0] == name]


def _only_bytes(leaves: list[str]) -> list[str]:
    return [leaf for leaf in leaves if is_bytes(leaf)]
