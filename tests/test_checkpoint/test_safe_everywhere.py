"""Whatever loads a checkpoint refuses pickled code, also where it is the first to load one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from helpers.runs import runner_config
from test_checkpoint.test_safe_loading import Malicious

PROGRAM = Path(__file__).with_name('loading_programs.py')


@pytest.mark.slow
def test_every_program_refuses_a_strangers_pickle(tmp_path, repo_root):
    cfg = Config(runner_config(tmp_path / 'unused'))
    cfg.custom_imports = dict(imports=['helpers.runs'])
    cfg.dump(tmp_path / 'config.py')
    harm = tmp_path / 'harm'
    stranger = dict(state_dict=dict(weight=torch.zeros(1)), extra=Malicious(harm))
    torch.save(stranger, tmp_path / 'stranger.pth')
    subprocess.run(
        [sys.executable, PROGRAM, tmp_path],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=f'{repo_root}{os.pathsep}{repo_root / "tests"}'),
        check=True,
    )
    raised = json.loads((tmp_path / 'raised.json').read_text())
    assert len(raised) >= 13
    for program, error in raised.items():
        assert error.startswith('ValueError') and 'contains pickled objects' in error, program
    assert not harm.exists()
