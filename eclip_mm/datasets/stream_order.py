"""The order of an epoch over row groups: arithmetic on row counts, nothing is read.

The row groups, in an order drawn for the epoch, lie one behind the other on a
line. The line is cut into ``num_shares * num_lanes`` lanes of whole batches:
share ``a`` belongs to rank ``a mod ranks``, and its lane ``c`` fills the batches
``c``, ``c + num_lanes``, ... of that rank. Where the workers divide the lanes, a
worker, which makes every ``num_workers``-th batch, owns whole lanes. So the
order is the same for every such number of workers (and of ranks that divide
the shares), and only a row group that the end of a lane cuts through is read
by more than one: by two, unless it is larger than a lane.

Within a lane, windows of consecutive row groups are shuffled: random groups,
then random rows of the groups in memory, as in CorgiPile (Xu et al., SIGMOD
2022). Unlike a buffer that refills row by row, the state at any place follows
from the place alone, and nothing before its window is needed again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from eclip_mm.utils.seeding import derive_seed


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of row group ``group``, counted within the group."""

    group: int
    start: int
    stop: int


class StreamOrder:
    """Order of one epoch.

    Args:
        group_sizes: Rows of every row group.
        batch_size: Samples of a batch, those of all ranks together.
        num_shares: Parts of every batch; divides ``batch_size``.
        num_lanes: Lanes of a share.
        window_rows: Rows to shuffle among; a window ends with the row
            group that reaches it.
        seed: Seed.
        epoch: Epoch.
        shuffle: Otherwise the groups, and the rows of a lane, keep their
            order.

    Attributes:
        num_batches: Whole batches of the epoch; rows that fill none are
            left out, others in every epoch.
        lane_batch: Samples that a lane gives to one of its batches.
    """

    def __init__(
        self,
        group_sizes: Sequence[int],
        batch_size: int,
        num_shares: int,
        num_lanes: int,
        window_rows: int,
        seed: int,
        epoch: int,
        shuffle: bool = True,
    ) -> None:
        sizes = np.asarray(group_sizes, dtype=np.int64)
        self.num_batches = int(sizes.sum()) // batch_size
        self.lane_batch = batch_size // num_shares
        self.num_lanes = num_lanes
        self.window_rows = window_rows
        self.epoch = epoch
        self._seed = seed
        self._shuffle = shuffle
        self._groups = np.arange(len(sizes))
        if shuffle:
            self._groups = self._generator('groups').permutation(len(sizes))
        self._ends = np.cumsum(sizes[self._groups])

    def _generator(self, *parts: int | str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self._seed, self.epoch, *parts))

    def batches_before(self, lane: int, batch: int) -> int:
        """How many of the batches before ``batch`` a lane fills."""
        return len(range(lane, batch, self.num_lanes))

    def windows(self, share: int, lane: int) -> list[list[Piece]]:
        """The pieces of each window of a lane."""
        batches = share * self.num_batches
        batches += sum(self.batches_before(c, self.num_batches) for c in range(lane))
        start = batches * self.lane_batch
        stop = start + self.batches_before(lane, self.num_batches) * self.lane_batch
        windows, rows = [], self.window_rows
        for piece in self._pieces(start, stop):
            if rows >= self.window_rows:
                windows.append([])
                rows = 0
            windows[-1].append(piece)
            rows += piece.stop - piece.start
        return windows

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Rows ``start`` to ``stop`` of the line."""
        at = int(np.searchsorted(self._ends, start, side='right'))
        while start < stop:
            first = int(self._ends[at - 1]) if at else 0
            end = min(stop, int(self._ends[at]))
            if end > start:  # not a group without rows
                yield Piece(int(self._groups[at]), start - first, end - first)
            start, at = end, at + 1

    def shuffled(self, share: int, lane: int, window: int, num_rows: int) -> np.ndarray:
        """(num_rows,) the order in which the rows of a window are handed out."""
        if not self._shuffle:
            return np.arange(num_rows)
        return self._generator('rows', share, lane, window).permutation(num_rows)

    def groups_after(self, group: int) -> Iterator[int]:
        """The other groups as they follow on the line, round to its beginning; then itself."""
        at = int(np.flatnonzero(self._groups == group)[0])
        yield from np.roll(self._groups, -at - 1).tolist()
