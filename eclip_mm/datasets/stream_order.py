"""The order of an epoch over row groups: arithmetic on row counts, nothing is read.

The row groups, in an order drawn for the epoch, are laid end to end on a line. The line is cut
into ``num_shards * num_virtual_workers`` parts of whole batches, one for each virtual worker of
each shard. Shard ``a`` belongs to rank ``a mod ranks``, and its virtual worker ``c`` fills the
batches ``c``, ``c + num_virtual_workers``, ... of that rank. The number of the loader's workers
divides that of the virtual ones: a worker, which makes every ``num_workers``-th batch, owns whole
virtual workers. So the order is the same for every such number of workers (and of ranks that
divide the shards), and only a row group that the end of a part cuts through is read by more than
one worker: by two, unless it is larger than a part.

Within a part, windows of consecutive row groups are shuffled: random groups, then random rows of
the groups in memory, as in CorgiPile (Xu et al., SIGMOD 2022). Unlike a buffer that refills row by
row, the state at any place follows from the place alone, and nothing before its window is needed
again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from eclip_mm.utils.seeding import derive_seed


class GroupRange(NamedTuple):
    """Rows ``start`` to ``stop`` of row group ``group``, counted within the group."""

    group: int
    start: int
    stop: int


class StreamOrder:
    """Order of one epoch.

    Args:
        group_sizes: rows of every row group.
        batch_size: samples of a batch, those of all ranks together.
        num_shards: parts of every batch; divides ``batch_size``.
        num_virtual_workers: virtual workers of a shard.
        window_rows: rows to shuffle among; a window ends with the row group that reaches it.
        seed: seed of the order.
        epoch: number of the epoch.
        shuffle: if False, the groups and the rows of a virtual worker keep their order.

    Attributes:
        num_batches: whole batches of the epoch; rows that fill none are left out, others in every
            epoch.
        shard_batch_size: samples that a shard gives to one batch; they are one virtual worker's.
    """

    def __init__(
        self,
        group_sizes: Sequence[int],
        batch_size: int,
        num_shards: int,
        num_virtual_workers: int,
        window_rows: int,
        seed: int,
        epoch: int,
        shuffle: bool = True,
    ) -> None:
        sizes = np.asarray(group_sizes, dtype=np.int64)
        self.num_batches = int(sizes.sum()) // batch_size
        self.shard_batch_size = batch_size // num_shards
        self.num_virtual_workers = num_virtual_workers
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

    def batches_before(self, virtual_worker: int, batch: int) -> int:
        """How many of the batches before ``batch`` a virtual worker fills."""
        return len(range(virtual_worker, batch, self.num_virtual_workers))

    def windows(self, shard: int, virtual_worker: int) -> list[list[GroupRange]]:
        """The row ranges of each window of a virtual worker."""
        batches = shard * self.num_batches
        batches += sum(self.batches_before(c, self.num_batches) for c in range(virtual_worker))
        own = self.batches_before(virtual_worker, self.num_batches)
        start = batches * self.shard_batch_size
        windows, rows = [], self.window_rows
        for row_range in self._row_ranges(start, start + own * self.shard_batch_size):
            if rows >= self.window_rows:
                windows.append([])
                rows = 0
            windows[-1].append(row_range)
            rows += row_range.stop - row_range.start
        return windows

    def _row_ranges(self, start: int, stop: int) -> Iterator[GroupRange]:
        """Rows ``start`` to ``stop`` of the line."""
        at = int(np.searchsorted(self._ends, start, side='right'))
        while start < stop:
            first = int(self._ends[at - 1]) if at else 0
            end = min(stop, int(self._ends[at]))
            if end > start:  # not a group without rows
                yield GroupRange(int(self._groups[at]), start - first, end - first)
            start, at = end, at + 1

    def shuffled(self, shard: int, virtual_worker: int, window: int, num_rows: int) -> np.ndarray:
        """(num_rows,) the order in which the rows of a window are handed out."""
        if not self._shuffle:
            return np.arange(num_rows)
        return self._generator('rows', shard, virtual_worker, window).permutation(num_rows)

    def groups_after(self, group: int) -> Iterator[int]:
        """The other groups in the order of the line, which continues at its beginning."""
        at = int(np.flatnonzero(self._groups == group)[0])
        yield from np.roll(self._groups, -at - 1).tolist()
