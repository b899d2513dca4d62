"""tools/slurm_train.sh hands a scheduler what it should."""

import os
import subprocess


def test_slurm_is_asked_for_one_task_a_gpu(tmp_path, repo_root):
    """With a ``srun`` that writes down how it was called."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" >called\n')
    srun.chmod(0o755)
    script = repo_root / 'tools/slurm_train.sh'
    subprocess.run(
        ['bash', script, 'part', 'job', 'my/config.py', 'my/runs', '--resume', '--amp'],
        check=True,
        cwd=tmp_path,
        env=dict(
            os.environ,
            PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
            GPUS='32',
            GPUS_PER_NODE='4',
            SRUN_ARGS='--time=10 --exclusive',
        ),
    )
    called = (tmp_path / 'called').read_text().splitlines()
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
