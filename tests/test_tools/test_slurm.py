"""tools/slurm_train.sh hands a scheduler what it should."""

import os
import subprocess

import pytest

pytestmark = pytest.mark.slow


def call(tmp_path, repo_root, *words, **env) -> list[str]:
    """The arguments that ``srun`` gets: one that writes down how it was called."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" >called\n')
    srun.chmod(0o755)
    subprocess.run(
        ['bash', repo_root / 'tools/slurm_train.sh', 'part', 'job', *words],
        check=True,
        cwd=tmp_path,
        env=dict(os.environ, PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}', **env),
    )
    return (tmp_path / 'called').read_text().splitlines()


def test_slurm_is_asked_for_one_task_a_gpu(tmp_path, repo_root):
    called = call(
        tmp_path,
        repo_root,
        'my/config.py',
        'my/runs',
        '--resume',
        '--amp',
        GPUS='32',
        GPUS_PER_NODE='4',
        SRUN_ARGS='--time=10 --exclusive',
    )
    options, program = called[: called.index('python')], called[called.index('python') :]
    assert options == [
        '-p',
        'part',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=32',
        '--ntasks-per-node=4',
        '--cpus-per-task=8',
        '--kill-on-bad-exit=1',
        '--time=10',
        '--exclusive',
    ]
    assert program == [
        'python',
        '-u',
        str(repo_root / 'tools/train.py'),
        'my/config.py',
        '--work-dir=my/runs',
        '--launcher',
        'slurm',
        '--resume',
        '--amp',
    ]


@pytest.mark.parametrize('gpus, per_node', [('4', 4), ('8', 8), ('16', 8)])
def test_a_node_is_asked_for_no_more_than_there_shall_be(tmp_path, repo_root, gpus, per_node):
    called = call(tmp_path, repo_root, 'my/config.py', 'my/runs', GPUS=gpus)
    assert {f'--gres=gpu:{per_node}', f'--ntasks={gpus}', f'--ntasks-per-node={per_node}'} <= set(
        called
    )
