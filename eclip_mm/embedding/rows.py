"""Reading the rows of a slice: the file from front to back, a small piece of it in memory."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.parquet_check import UNREADABLE, leaf_names, without_boxes
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.embedding.slices import Slice

# Rows of Parquet in memory at a time. Pieces are counted from the beginning of their row group, so
# that what damage costs depends neither on the slice nor on the batch.
PIECE_ROWS = 64

Row = dict | Exception


def read_rows(part: Slice, spans: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, Row]]]:
    """Rows of the file of a slice, boxes left out, nothing checked.

    Args:
        part: Of which file.
        spans: First row and the one after the
            last, from 0; in their order. What lies between is passed over.

    Yields:
        For each span its rows: number from 1, and the row or why it cannot be
        read. Blank lines of JSON Lines are no rows, and there are none beyond
        the end of the file.

    Raises:
        CatalogueError: A Parquet file cannot be opened.
        OSError: A file of JSON Lines cannot.
    """
    reader = _read_parquet if Path(part.path).suffix == '.parquet' else _read_lines
    yield from reader(part, spans)


def _read_lines(part: Slice, spans: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, Row]]]:
    with open(part.path, 'rb') as file:
        file.seek(part.offset)
        position = part.start
        for start, stop in spans:
            for _ in islice(file, start - position):
                pass
            lines = enumerate(islice(file, stop - start), start + 1)
            yield [(number, _parse(line)) for number, line in lines if line.strip()]
            position = stop


def _parse(line: bytes) -> Row:
    try:
        return json.loads(line.decode('utf-8-sig'))
    except ValueError as error:
        return ValueError(f'the line is not JSON ({error})')


def _read_parquet(
    part: Slice, spans: Iterable[tuple[int, int]]
) -> Iterator[list[tuple[int, Row]]]:
    file = _ParquetRows(part.path)
    for start, stop in spans:
        yield list(file.read(start, stop))


class _ParquetRows:
    """Rows of a Parquet file that are asked for in their order.

    Other programs make row groups of up to a million rows: a group is decoded
    piece by piece, and once.
    """

    def __init__(self, path: str) -> None:
        try:
            self.file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        except UNREADABLE as error:
            raise CatalogueError(f'{path}: cannot be read as Parquet ({error})') from error
        self.columns = without_boxes(leaf_names(self.file))
        groups = map(self.file.metadata.row_group, range(self.file.num_row_groups))
        self.group_starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self.group = None

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        stop = min(stop, int(self.group_starts[-1]))
        while start < stop:
            first, piece = self._piece_with(start)
            rows = _to_rows(piece[start - first : stop - first])
            yield from enumerate(rows, start + 1)
            start += len(rows)

    def _piece_with(self, row: int) -> tuple[int, pa.RecordBatch | list[Exception]]:
        """First row of the piece that has a row, and the piece."""
        group = int(np.searchsorted(self.group_starts, row, side='right')) - 1
        if group != self.group:
            self.group, self.pieces = group, self._pieces(group)
            self.first, self.piece = next(self.pieces)
        while row >= self.first + len(self.piece):
            self.first, self.piece = next(self.pieces)
        return self.first, self.piece

    def _pieces(self, group: int) -> Iterator[tuple[int, pa.RecordBatch | list[Exception]]]:
        """All rows of a group; those from a damaged piece on come as the reason."""
        first, end = self.group_starts[group : group + 2].tolist()
        reason = 'it has fewer rows than it says'
        try:
            # One thread: Arrow's pool does not survive a fork in the middle of work.
            for batch in self.file.iter_batches(
                PIECE_ROWS, [group], self.columns, use_threads=False
            ):
                yield first, batch
                first += len(batch)
        except UNREADABLE as error:
            reason = error
        problem = ValueError(f'row group {group} of the file cannot be read ({reason})')
        yield first, [problem] * (end - first)


def _to_rows(piece: pa.RecordBatch | list[Exception]) -> list[Row]:
    if isinstance(piece, list):
        return piece
    try:
        return piece.to_pylist()
    except UNREADABLE:  # of words that are not UTF-8; it costs their rows alone
        return [_to_row(piece, i) for i in range(len(piece))]


def _to_row(piece: pa.RecordBatch, i: int) -> Row:
    row = {}
    for name in piece.schema.names:
        try:
            row[name] = piece.column(name)[i].as_py()
        except UNREADABLE as error:
            return ValueError(f'field {name!r} cannot be read ({error})')
    return row
