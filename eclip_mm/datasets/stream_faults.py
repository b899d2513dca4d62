"""Counting what a stream could not use, over all its workers."""

import logging
from functools import partial

import torch
from mmengine.logging import print_log

KINDS = ('row groups', 'rows', 'pictures')


class StreamFaults:
    """Faults of an epoch, in memory that workers share.

    Args:
        num_lanes (int): Lanes; only the worker that owns one counts its faults,
            so that none is lost.
        name (str): Of the stream, for messages.
        strict (bool): Raise instead of counting.
        max_logged (int): How many of a lane and kind are logged in an epoch: a
            stream keeps no list of what it has told.
    """

    def __init__(self, num_lanes: int, name: str, strict: bool, max_logged: int = 10) -> None:
        self.name, self.strict, self.max_logged = name, strict, max_logged
        # the last column: samples of a product that stood in for another
        self._counts = torch.zeros(num_lanes, len(KINDS) + 1, dtype=torch.int64).share_memory_()

    def note(self, lane: int, kind: str, error: Exception) -> None:
        """Count a fault, and log the first of a lane.

        Raises:
            Exception: The fault, where ``strict``.
        """
        if self.strict:
            raise error
        column = KINDS.index(kind)
        self._counts[lane, column] += 1
        if int(self._counts[lane, column]) <= self.max_logged:
            print_log(f'{self.name}: {error}', logger='current', level=logging.WARNING)

    def of_lane(self, lane: int) -> partial:
        """:meth:`note` without its first argument."""
        return partial(self.note, lane)

    def note_stand_in(self, lane: int) -> None:
        """Count a sample of a product that stood in for another."""
        self._counts[lane, -1] += 1

    def counts(self) -> dict[str, int]:
        """{'row groups', 'rows', 'pictures', 'stand-ins': how many} of this rank."""
        return dict(zip((*KINDS, 'stand-ins'), self._counts.sum(dim=0).tolist(), strict=True))

    def reset(self) -> None:
        """Begin an epoch."""
        self._counts.zero_()

    def log(self, epoch: int) -> None:
        """Log the counts of an epoch, if there are any."""
        *faults, (_, stand_ins) = self.counts().items()
        if any(count for _, count in faults) or stand_ins:
            told = ', '.join(f'{count} {kind}' for kind, count in faults)
            print_log(
                f'{self.name}: epoch {epoch}: {told} could not be used; in {stand_ins} samples '
                'another product stands in',
                logger='current',
                level=logging.WARNING,
            )
