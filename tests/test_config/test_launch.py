"""The arguments that train.py and test.py share."""

import argparse
import os

import pytest
from mmengine.config import Config

from eclip_mm.config.launch import apply_launch_arguments
from eclip_mm.utils.arguments import add_launch_arguments


def apply(cfg, *words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_launch_arguments(parser, 'results')
    cfg = Config(cfg)
    apply_launch_arguments(cfg, parser.parse_args(['configs/some/name.py', *words]))
    return cfg


@pytest.mark.parametrize(
    'cfg, words, wanted',
    [
        ({}, [], 'work_dirs/name'),
        (dict(work_dir=None), [], 'work_dirs/name'),
        (dict(work_dir='own'), [], 'own'),
        (dict(work_dir='own'), ['--work-dir', 'given'], 'given'),
    ],
)
def test_where_results_go(cfg, words, wanted, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    assert apply(cfg, *words).work_dir == wanted


def test_launcher_and_local_rank(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')  # restored afterwards
    monkeypatch.delenv('LOCAL_RANK')
    cfg = apply({}, '--launcher', 'pytorch', '--local-rank', '3')
    assert (cfg.launcher, os.environ['LOCAL_RANK']) == ('pytorch', '3')
    apply({}, '--local_rank', '1')
    assert os.environ['LOCAL_RANK'] == '3', 'torchrun has set it: that counts'


def test_open_mpi_says_which_gpu(monkeypatch):
    """Whatever LOCAL_RANK was where the processes were started from: it is the same for all."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    apply({}, '--launcher', 'mpi')
    assert os.environ['LOCAL_RANK'] == '3'


def test_two_slurm_jobs_on_a_machine_meet_at_two_ports(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.delenv('SLURM_STEP_ID', raising=False)
    ports = []
    for job in ('4001', '4002', '4001'):
        monkeypatch.setenv('SLURM_JOB_ID', job)
        monkeypatch.setenv('MASTER_PORT', '')  # restored afterwards
        monkeypatch.delenv('MASTER_PORT')
        apply({}, '--launcher', 'slurm')
        ports.append(int(os.environ['MASTER_PORT']))
    assert ports[0] == ports[2] != ports[1], 'the processes of a job agree'
    assert all(20000 <= port < 32000 for port in ports)
    monkeypatch.setenv('MASTER_PORT', '29500')
    apply({}, '--launcher', 'slurm')
    assert os.environ['MASTER_PORT'] == '29500', 'given: that counts'
