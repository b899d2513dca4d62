"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from helpers.workplace import Workplace

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session', autouse=True)
def _environment():
    # two processes on two cores: more threads each only get in the other's way
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    init_default_scope('eclip_mm')


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """Top folder of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def workplace(tmp_path_factory, repo_root) -> Workplace:
    """A folder with a tiny catalogue and config, in which the tools can be started."""
    return Workplace(tmp_path_factory.mktemp('workplace'), repo_root)
