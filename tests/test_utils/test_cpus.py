"""How many CPUs may be used: all, those that the process is bound to, or a container's share."""

import os
import subprocess
import sys

import pytest

from eclip_mm.utils import cpus


@pytest.mark.parametrize(
    ('quota', 'wanted'),
    [(None, 5), ('max 100000', 5), ('250000 100000', 3), ('900000 100000', 5), ('1 100000', 1)],
)
def test_a_bound_process_in_a_container(tmp_path, monkeypatch, quota, wanted):
    if quota is not None:
        (tmp_path / 'cpu.max').write_text(f'{quota}\n')
    monkeypatch.setattr(cpus, '_QUOTA', tmp_path / 'cpu.max')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 2, 3, 5, 7}, raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    assert cpus.num_cpus() == wanted


@pytest.mark.parametrize(('count', 'wanted'), [(8, 8), (None, 1)])
def test_a_system_that_binds_no_processes(tmp_path, monkeypatch, count, wanted):
    monkeypatch.setattr(cpus, '_QUOTA', tmp_path / 'nothing')
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: count)
    assert cpus.num_cpus() == wanted


@pytest.mark.slow
def test_the_file_prints_it_without_the_package():
    """tools/setup_env.sh asks before anything is installed."""
    command = [sys.executable, '-S', '-E', cpus.__file__]
    assert subprocess.check_output(command, text=True) == f'{cpus.num_cpus()}\n'
