"""The runs that several tests look at."""

import signal
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def runs(workplace) -> dict[str, Path]:
    """Work dirs of a training of 2 epochs, and of one that was killed and resumed.

    With other numbers of workers. A test that uses them is of the xdist_group 'runs'.
    """
    workplace.train('whole', config=workplace.recorded('whole', num_workers=0))
    # 8 steps an epoch, a checkpoint every 3: killed in the middle of the second epoch, two steps
    # after the last checkpoint
    killed = workplace.recorded('killed', num_workers=2, kill_at=11)
    workplace.train('killed', config=killed, expected=-signal.SIGKILL)
    folder = workplace.folder / 'killed'
    assert (folder / 'last_checkpoint').read_text().endswith('iter_9.pth')
    assert not (folder / 'iter_12.pth').exists()
    resumed = workplace.recorded('resumed', num_workers=3)
    text = workplace.train('killed', '--resume', config=resumed)
    assert 'resumed epoch: 1, iter: 9' in text
    return dict(whole=workplace.folder / 'whole', resumed=folder)


@pytest.fixture
def trained(runs) -> Path:
    """The work dir of a training; its last checkpoint is ``iter_16.pth``."""
    return runs['whole']
