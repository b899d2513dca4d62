"""The rows of a stream that are in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError, validate_row
from eclip_mm.datasets.stream_order import GroupRange, StreamOrder

# Row groups beyond a window that are searched for a product to replace one of the window, and how
# many of their products are tried.
_MAX_GROUPS = 100
_MAX_SPARES = 100


class WindowRow(NamedTuple):
    """A row of the catalogue: its row group, its number, its content or None."""

    group: int
    number: int
    row: dict | None


@dataclass
class StreamWindow:
    """Rows in the order in which they are handed out.

    Attributes:
        rows: all rows; without content where a row cannot be used.
        sources: sources of all its pictures, including those of unwanted rows.
        further: usable rows of the row groups after the window, read when they are asked for.
        hopeless: numbers of rows none of whose pictures can be used; they are not tried again.
    """

    rows: list[WindowRow]
    sources: set[str]
    further: Iterator[list[WindowRow]]
    hopeless: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._usable = [row for row in self.rows if row.row is not None]
        self._spares: list[list[WindowRow]] = []

    def candidates(self, place: int) -> Iterator[WindowRow]:
        """The row at a place if it can be used, then those that may replace it, each once.

        The rows of the window come first, then those of further row groups. The result does not
        depend on what was asked for before.
        """
        own = self.rows[place]
        others = (row for row in _from(self._usable, place + 1) if row is not own)
        if own.row is not None and own.number not in self.hopeless:
            yield own
        for rows in (others, islice(self._spare_rows(place), _MAX_SPARES)):
            yield from (row for row in rows if row.number not in self.hopeless)

    def _spare_rows(self, place: int) -> Iterator[WindowRow]:
        for i in count():
            if i == len(self._spares):
                group = next(self.further, None)
                if group is None:
                    return
                self._spares.append(group)
            yield from _from(self._spares[i], place)


def _from(rows: Sequence[WindowRow], start: int) -> Iterator[WindowRow]:
    """All rows, beginning with one and continuing at the first."""
    return (rows[(start + i) % len(rows)] for i in range(len(rows)))


def load_window(
    reader: RowGroupReader,
    order: StreamOrder,
    row_ranges: Sequence[GroupRange],
    shuffled: Sequence[int],
    wanted: Callable[[dict], bool],
    note: Callable[[str, CatalogueError | None], None],
) -> StreamWindow:
    """Read a window.

    Args:
        reader: reads the row groups.
        order: says which groups follow.
        row_ranges: rows of the window as they are read.
        shuffled: places among these, as they are handed out.
        wanted: whether a row is to be used.
        note: called with 'row groups', 'rows' or 'unwanted' and the fault.
    """
    sources = set()

    def wanted_here(row: dict) -> bool:
        sources.update(image['source'] for image in row['images'])
        return wanted(row)

    rows = [row for part in row_ranges for row in _read(reader, part, wanted_here, note)]

    def further() -> Iterator[list[WindowRow]]:
        for group in islice(order.groups_after(row_ranges[-1].group), _MAX_GROUPS):
            # its faults are reported by the virtual workers that have its rows
            whole = GroupRange(group, 0, int(reader.sizes[group]))
            others = _read(reader, whole, wanted, lambda *fault: None)
            yield [row for row in others if row.row is not None]

    return StreamWindow([rows[i] for i in shuffled], sources, further())


def _read(reader: RowGroupReader, part: GroupRange, wanted, note) -> list[WindowRow]:
    try:
        rows = reader.read_rows(*part)
    except BrokenGroupError as error:
        if part.start == 0:  # otherwise the virtual worker that has its beginning reports it
            note('row groups', error)
        rows = [None] * (part.stop - part.start)
    file, number_in_file = reader.file(part.group), reader.row_in_file(part.group) + part.start
    found = []
    for i, row in enumerate(rows):
        if row is not None:
            where = f'{file}, row {number_in_file + i + 1}'
            try:
                if isinstance(row, Exception):
                    raise CatalogueError(f'{where}: {row}')
                validate_row(row, where, empty_pictures=True)
                if not wanted(row):
                    note('unwanted', None)
                    row = None
            except CatalogueError as error:
                note('rows', error)
                row = None
        found.append(WindowRow(part.group, reader.first_row(part.group) + part.start + i, row))
    return found
