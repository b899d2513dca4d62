"""The runs that several tests look at."""

import signal
from pathlib import Path

import pytest


@pytest.fixture(scope='package')
def runs(workplace) -> dict[str, Path]:
    """Work dirs of a run of 2 epochs without interruption and of one that was killed."""
    processes = {
        'uninterrupted': workplace.train('uninterrupted'),
        # 8 steps an epoch, checkpoints every 3: in the middle of the second epoch, two steps
        # after the last checkpoint
        'killed': workplace.train('killed', config=workplace.killed_at(11)),
    }
    workplace.wait('uninterrupted', processes['uninterrupted'])
    code = processes['killed'].wait(timeout=300)
    assert code == -signal.SIGKILL, workplace.log('killed')[-4000:]
    return {name: workplace.folder / name for name in processes}


@pytest.fixture
def trained(runs) -> Path:
    return runs['uninterrupted']
