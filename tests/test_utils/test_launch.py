"""The arguments that train.py and test.py share."""

import argparse
import os

import pytest
from mmengine.config import Config

from eclip_mm.utils.launch import add_launch_arguments, apply_launch_arguments


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
