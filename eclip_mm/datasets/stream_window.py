"""The rows of a stream that are in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from .parquet_groups import ParquetGroups
from .schema import BrokenGroupError, CatalogueError
from .stream_order import Piece, StreamOrder

# Row groups tried for a product that stands in, where no row of a window can be used.
_MAX_GROUPS = 100


class Slot(NamedTuple):
    """A row of the catalogue: its row group, its number, its content or None."""

    group: int
    number: int
    row: dict | None


@dataclass
class StreamWindow:
    """Rows in the order in which they are handed out.

    Attributes:
        slots (list[Slot]): All rows; without content where a row cannot be used.
        usable (list[Slot]): What can stand in for others: the rows that can be
            used, or those of another row group where there is none.
    """

    slots: list[Slot]
    usable: list[Slot]

    def candidates(self, place: int) -> Iterator[Slot]:
        """The row at a place if it can be used; then, without end, what stands in for it."""
        if self.slots[place].row is not None:
            yield self.slots[place]
        while True:
            place += 1
            yield self.usable[place % len(self.usable)]


def load_window(
    groups: ParquetGroups,
    order: StreamOrder,
    pieces: Sequence[Piece],
    shuffled: Sequence[int],
    wanted: Callable[[dict], bool],
    note: Callable[[str, CatalogueError], None],
) -> StreamWindow:
    """Read a window.

    Args:
        groups (ParquetGroups): Where from.
        order (StreamOrder): Says which groups follow where no row can be used.
        pieces (Sequence[Piece]): Its rows as they are read.
        shuffled (Sequence[int]): Places among these, as they are handed out.
        wanted (Callable): Whether a row is to be used.
        note (Callable): Called with 'row groups' or 'rows' and the fault.

    Raises:
        CatalogueError: No row of the window and of many other groups can be used.
    """
    slots = [slot for piece in pieces for slot in _read(groups, piece, wanted, note)]
    slots = [slots[i] for i in shuffled]
    usable = [slot for slot in slots if slot.row is not None]
    following = order.groups_after(pieces[-1].group)
    for group in islice(following, 0 if usable else _MAX_GROUPS):
        whole = Piece(group, 0, int(groups.sizes[group]))
        others = _read(groups, whole, wanted, lambda *fault: None)
        usable = [slot for slot in others if slot.row is not None]
        if usable:
            break
    if not usable:
        raise CatalogueError(
            f'{groups.path(pieces[0].group)}: no row from row {slots[0].number} on can be used, '
            f'nor one of up to {_MAX_GROUPS} other row groups; see the faults reported before'
        )
    return StreamWindow(slots, usable)


def _read(groups: ParquetGroups, piece: Piece, wanted, note) -> list[Slot]:
    try:
        rows = groups.read(*piece)
    except BrokenGroupError as error:
        if piece.start == 0:  # otherwise the lane that has its beginning tells
            note('row groups', error)
        rows = [None] * (piece.stop - piece.start)
    slots = []
    for number, row in enumerate(rows, groups.first_row(piece.group) + piece.start):
        if isinstance(row, CatalogueError):
            note('rows', row)
            row = None
        elif row is not None and not wanted(row):
            row = None
        slots.append(Slot(piece.group, number, row))
    return slots
