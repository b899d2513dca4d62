"""Counting what a stream could not use, over all its workers and ranks."""

import logging
import sys
from functools import partial

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.logging import print_log

KINDS = ('row groups', 'rows', 'pictures')

#: Counted, but no faults: products that ``sources`` and ``where`` leave out; samples of a product
#: that replaced another one.
OTHERS = ('unwanted', 'stand-ins')


class StreamFaults:
    """Faults of an epoch, in memory that workers share.

    Args:
        num_virtual_workers: virtual workers; only the worker that owns one counts its faults, so
            that none is lost.
        name: name of the stream, for messages.
        strict: raise instead of counting.
        max_logged: how many faults of a virtual worker and kind are logged in an epoch: a stream
            keeps no list of what it has logged.
    """

    def __init__(
        self, num_virtual_workers: int, name: str, strict: bool, max_logged: int = 10
    ) -> None:
        self.name, self.strict, self.max_logged = name, strict, max_logged
        shape = num_virtual_workers, len(KINDS) + len(OTHERS)
        self._counts = torch.zeros(shape, dtype=torch.int64).share_memory_()

    def note(self, virtual_worker: int, kind: str, error: Exception | None) -> None:
        """Count something; log a fault if it is one of the first of its virtual worker.

        Raises:
            Exception: the fault, where ``strict``.
        """
        if self.strict and error is not None:
            raise error
        column = (*KINDS, *OTHERS).index(kind)
        self._counts[virtual_worker, column] += 1
        if error is not None and int(self._counts[virtual_worker, column]) <= self.max_logged:
            self.warn(str(error))

    def warn(self, message: str) -> None:
        """Log a warning on any rank: mmengine's logger hides those of every rank but the first."""
        if get_rank() == 0:
            print_log(f'{self.name}: {message}', logger='current', level=logging.WARNING)
        else:
            print(f'rank {get_rank()}: {self.name}: {message}', file=sys.stderr, flush=True)

    def of(self, virtual_worker: int) -> partial:
        """:meth:`note` without its first argument."""
        return partial(self.note, virtual_worker)

    def counts(self) -> dict[str, int]:
        """{kind: number} of this rank, for :data:`KINDS` and :data:`OTHERS`."""
        return dict(zip((*KINDS, *OTHERS), self._counts.sum(dim=0).tolist(), strict=True))

    def reset(self) -> None:
        """Begin an epoch."""
        self._counts.zero_()

    def log(self, part: str) -> None:
        """Log the counts of all ranks, if there are any; every rank must call it.

        Args:
            part: where it was counted, such as ``epoch 3``.
        """
        total = self._counts.sum(dim=0)
        all_reduce(total)
        *faults, unwanted, stand_ins = total.tolist()
        if get_rank() or not total.any():
            return
        text = ', '.join(f'{n} {kind}' for n, kind in zip(faults, KINDS, strict=True))
        if unwanted:
            text += f', {unwanted} products that are not asked for (by sources or where)'
        self.warn(
            f'{part}: {text} could not be used; in {stand_ins} samples another product stands in'
        )
