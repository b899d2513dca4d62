"""Stopping a training between two steps when a data-loading worker dies."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# The beginning of torch's message. Exceptions raised by a worker have other messages.
_DEATH = 'DataLoader worker (pid'


class WorkerDiedError(RuntimeError):
    """A worker was killed. The message names the checkpoint to resume from."""


def is_worker_death(error: Exception) -> bool:
    """Whether an error means that a worker of a DataLoader has died."""
    if isinstance(error, (ConnectionError, EOFError)):
        # the batch had arrived, but its memory is opened through the worker, which is gone
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_code.co_name == '_try_get_data' for frame, _ in frames)
    return str(error).startswith(_DEATH)


@contextmanager
def defer_worker_death() -> Iterator[None]:
    """Delay worker-death signals until the end of this block.

    torch raises an error from the signal handler, wherever the main thread is at
    that moment. In the middle of an optimiser step only half of the weights would
    be updated.
    """
    deferred = []
    with _child_death_handler(lambda *args: deferred.append(args)) as handler:
        yield
    if deferred and callable(handler):
        handler(*deferred[-1])


@contextmanager
def ignore_worker_death() -> Iterator[None]:
    """Suppress worker-death signals inside this block.

    Until a dead worker has been waited for, torch raises its error again whenever
    any child process ends, such as the git command that a checkpoint runs to read
    the commit.
    """
    with _child_death_handler(signal.SIG_DFL):
        yield


@contextmanager
def _child_death_handler(handler) -> Iterator:
    """Replace the handler of SIGCHLD inside this block; yields the previous one."""
    if threading.current_thread() is not threading.main_thread():
        yield None  # signal handlers can only be set in the main thread
        return
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        yield before
    finally:
        signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)
