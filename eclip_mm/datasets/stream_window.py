"""The rows of a stream that are in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

from eclip_mm.datasets.storage.parquet_groups import ParquetGroups
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError
from eclip_mm.datasets.stream_order import Piece, StreamOrder

# Row groups beyond a window that are looked through for a product that stands in, and how many
# of their products are tried.
_MAX_GROUPS = 100
_MAX_SPARES = 100


class Slot(NamedTuple):
    """A row of the catalogue: its row group, its number, its content or None."""

    group: int
    number: int
    row: dict | None


@dataclass
class StreamWindow:
    """Rows in the order in which they are handed out.

    Attributes:
        slots: All rows; without content where a row cannot be used.
        sources: Of all its pictures, those of unwanted rows as well.
        further: Rows of the row groups behind the window that
            can be used, read when they are asked for.
        hopeless: Numbers of rows none of whose pictures can be used;
            they are not tried again.
    """

    slots: list[Slot]
    sources: set[str]
    further: Iterator[list[Slot]]
    hopeless: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._usable = [slot for slot in self.slots if slot.row is not None]
        self._spares: list[list[Slot]] = []

    def candidates(self, place: int) -> Iterator[Slot]:
        """The row at a place if it can be used, then what may stand in for it, each once.

        First the rows of the window, then those of further row groups. What comes does not
        depend on what was asked for before.
        """
        own = self.slots[place]
        others = (slot for slot in _from(self._usable, place + 1) if slot is not own)
        if own.row is not None and own.number not in self.hopeless:
            yield own
        for slots in (others, islice(self._spare_slots(place), _MAX_SPARES)):
            yield from (slot for slot in slots if slot.number not in self.hopeless)

    def _spare_slots(self, place: int) -> Iterator[Slot]:
        for i in count():
            if i == len(self._spares):
                group = next(self.further, None)
                if group is None:
                    return
                self._spares.append(group)
            yield from _from(self._spares[i], place)


def _from(slots: Sequence[Slot], start: int) -> Iterator[Slot]:
    """All slots, from one on and round."""
    return (slots[(start + i) % len(slots)] for i in range(len(slots)))


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
        groups: Where from.
        order: Says which groups follow.
        pieces: Its rows as they are read.
        shuffled: Places among these, as they are handed out.
        wanted: Whether a row is to be used.
        note: Called with 'row groups', 'rows' or 'unwanted' and the
            fault.
    """
    sources = set()

    def wanted_here(row: dict) -> bool:
        sources.update(image['source'] for image in row['images'])
        return wanted(row)

    slots = [slot for piece in pieces for slot in _read(groups, piece, wanted_here, note)]

    def further() -> Iterator[list[Slot]]:
        for group in islice(order.groups_after(pieces[-1].group), _MAX_GROUPS):
            # the lanes that have its rows tell of its faults
            whole = Piece(group, 0, int(groups.sizes[group]))
            others = _read(groups, whole, wanted, lambda *fault: None)
            yield [slot for slot in others if slot.row is not None]

    return StreamWindow([slots[i] for i in shuffled], sources, further())


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
            note('unwanted', None)
            row = None
        slots.append(Slot(piece.group, number, row))
    return slots
