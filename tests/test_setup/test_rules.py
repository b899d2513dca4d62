"""The rules of tests/helpers/rules.py hold what they say."""

import re
import time

import pytest

from helpers.processes import start_ranks
from helpers.rules import AloneLock

SUITE = """
import multiprocessing, subprocess

import pytest
from mmengine.runner import Runner


@pytest.fixture(scope='session')
def started():
    subprocess.run(['true'], check=True)


@pytest.mark.slow
def test_slow():
    subprocess.run(['true'], check=True)

def test_process():
    subprocess.run(['true'], check=True)

def test_worker():
    multiprocessing.get_context('fork').Process(target=print).start()

def test_training():
    Runner.train(None)

def test_fixture(started):
    pass
"""


@pytest.mark.slow
def test_what_starts_a_process_or_trains_is_slow_or_fails(pytester):
    pytester.makepyfile(SUITE)
    done = pytester.runpytest_inprocess('-p', 'helpers.rules', '-W', 'ignore')
    done.assert_outcomes(passed=1, failed=3, errors=1)
    for name in ('process', 'worker', 'training', 'fixture'):
        done.stdout.fnmatch_lines(f'*::test_{name} starts a process or trains: mark it slow*')


@pytest.mark.data
def test_every_listed_case_is_there(cases_root):
    listed = re.findall(r'^\| (\d\d-[\w-]+) \|', (cases_root / 'README.md').read_text(), re.M)
    assert listed and all((cases_root / name).is_dir() for name in listed)


def _hold(rank, path, log):
    """Ranks 0 and 1 share the lock, twice; rank 2 holds it alone."""
    lock, alone = AloneLock(path), rank == 2
    for _ in range(1 if alone else 2):
        lock.acquire(alone)
        with open(log, 'a') as file:
            file.write(f'begin {rank}\n')
        time.sleep(0.3)
        with open(log, 'a') as file:
            file.write(f'end {rank}\n')
        lock.release()


@pytest.mark.slow
def test_nobody_holds_the_lock_beside_one_that_is_alone(tmp_path):
    path, log = tmp_path / 'lock', tmp_path / 'log'
    path.touch()
    start_ranks(_hold, str(path), str(log), size=3)
    lines = log.read_text().splitlines()
    assert len(lines) == 10
    begin = lines.index('begin 2')
    assert lines[begin + 1] == 'end 2'
    at_work = [line.split()[1] for line in lines[:begin]]
    assert all(at_work.count(rank) % 2 == 0 for rank in '01')  # nobody is between begin and end
