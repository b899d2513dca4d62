"""A data-loading worker that dies: a clear end between two steps."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# How torch begins its message; an exception that a worker raised reads otherwise.
_DEATH = 'DataLoader worker (pid'


class WorkerDiedError(RuntimeError):
    """A worker was killed; names the checkpoint of all steps before."""


def is_worker_death(error: Exception) -> bool:
    """Whether torch says that a worker of a DataLoader is gone."""
    if isinstance(error, (ConnectionError, EOFError)):
        # its batch was there, but a worker hands the memory over itself
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_code.co_name == '_try_get_data' for frame, _ in frames)
    return str(error).startswith(_DEATH)


@contextmanager
def deaths_wait() -> Iterator[None]:
    """Let the death of a worker be known at the end of the block only.

    torch raises it from a signal handler, wherever the main thread happens to
    be: in the middle of an optimiser step, half of the weights would be new.
    """
    held_back = []
    with _on_child_death(lambda *args: held_back.append(args)) as handler:
        yield
    if held_back and callable(handler):
        handler(*held_back[-1])


@contextmanager
def deaths_are_known() -> Iterator[None]:
    """No death of a worker is told in the block.

    A dead worker that nobody has waited for is told anew whenever any process
    ends, such as the one in which a checkpoint asks git for its commit.
    """
    with _on_child_death(signal.SIG_DFL):
        yield


@contextmanager
def _on_child_death(handler) -> Iterator:
    """Another handler of SIGCHLD in the block; gives the one before."""
    if threading.current_thread() is not threading.main_thread():
        yield None  # signal handlers run in the main thread
        return
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        yield before
    finally:
        signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)
