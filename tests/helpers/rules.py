"""Rules of the suite, as a plugin: what is slow, and what runs alone.

- A test that starts a process or trains with a Runner is marked ``slow``. Without it, it fails.
- With pytest-xdist, a test that is marked ``alone`` has the machine to itself: it starts ranks or
  several programs, or measures memory. The others hold a lock together, and it holds it alone.
"""

import fcntl
import multiprocessing.process
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mmengine.runner import Runner

_LOCK = pytest.StashKey()
#: what only a slow test may call
_SLOW = (
    (subprocess.Popen, '__init__'),
    (multiprocessing.process.BaseProcess, 'start'),
    (Runner, 'train'),
)


def is_marked(item: pytest.Item | None, name: str) -> bool:
    return item is not None and item.get_closest_marker(name) is not None


class AloneLock:
    """A lock that several processes share, or one holds alone.

    By record locks of a file. They belong to a process, so what a test forks does not hold them.

    Args:
        path: an existing file, the same for all processes.
    """

    def __init__(self, path: str):
        self.file, self.held = open(path, 'r+b'), False

    def acquire(self, alone: bool) -> None:
        """Waits until nobody else, or nobody else alone, has it."""
        # the first byte is the head of the queue: a shared lock waits behind one that waits to
        # be alone
        fcntl.lockf(self.file, fcntl.LOCK_EX, 1, 0)
        fcntl.lockf(self.file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, 1, 1)
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, 0)
        self.held = True

    def release(self) -> None:
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, 1)
        self.held = False


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, 'workerinput'):
        path = config.workerinput['alone_lock']
    else:
        handle, path = tempfile.mkstemp(prefix='eclip_mm_tests_')
        os.close(handle)
    config.stash[_LOCK] = AloneLock(path)


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_configure_node(node) -> None:
    node.workerinput['alone_lock'] = node.config.stash[_LOCK].file.name


def pytest_unconfigure(config: pytest.Config) -> None:
    lock = config.stash[_LOCK]
    lock.file.close()
    if not hasattr(config, 'workerinput'):
        os.unlink(lock.file.name)


@contextmanager
def quick_only(item: pytest.Item) -> Iterator[None]:
    """What only a slow test may call is a failure inside."""

    def refuse(*args, **kwargs):
        pytest.fail(f'{item.nodeid} starts a process or trains: mark it slow')

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in _SLOW:
            patch.setattr(owner, name, refuse)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None):
    lock, alone = item.config.stash[_LOCK], is_marked(item, 'alone')
    if not lock.held:
        lock.acquire(alone)
    try:
        if is_marked(item, 'slow'):
            return (yield)
        with quick_only(item):
            return (yield)
    finally:
        if not (alone and is_marked(nextitem, 'alone')):
            lock.release()
