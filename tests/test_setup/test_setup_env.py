"""tools/setup_env.sh: its refusals, and that a stopped build leaves no half wheel."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.processes import is_running, wait_until

REPO = Path(__file__).parents[2]
SCRIPT = REPO / 'tools/setup_env.sh'
pytestmark = pytest.mark.slow


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/bash\n{body}\n')
    path.chmod(0o755)
    return path


def set_up(*flags, **variables):
    return subprocess.run(
        ['bash', str(SCRIPT), *flags],
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize('script', sorted(REPO.glob('tools/*.sh')) + [REPO / '.ci/run'], ids=str)
def test_scripts_parse(script):
    done = subprocess.run(['bash', '-n', str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_flags_old_pythons_and_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('mine')
    old = executable(tmp_path / 'python3', 'exit 1')
    for done, words in (
        (set_up('--dett', VENV=tmp_path / 'env'), ['unknown flag --dett']),
        (
            set_up(VENV=tmp_path / 'env', PYTHON=old),
            [f'no Python >= 3.10 among: {old}', 'PYTHON=/path/to'],
        ),
        (set_up(VENV=tmp_path / 'mine'), ['neither a Python environment nor an empty folder']),
    ):
        assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine', 'python3']
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.txt']


@pytest.mark.parametrize(
    ('user', 'auto_apt', 'installs'), [(0, '0', False), (1000, '1', False), (0, '1', True)]
)
def test_a_missing_venv_module_is_installed_by_root_only(tmp_path, user, auto_apt, installs):
    """A Debian whose python3 has none. Other users get the command to run."""
    log = tmp_path / 'apt.log'
    executable(tmp_path / 'bin/apt-get', f'echo "$@" >>{log}')
    executable(tmp_path / 'bin/id', f'echo {user}')
    # it stops the set-up where it would make the environment
    python = executable(
        tmp_path / 'bin/python3',
        'case "$*" in *ensurepip*) exit 1 ;; *"print("*) echo 3.11 ;; *" venv "*) exit 9 ;; esac',
    )
    path = f'{tmp_path}/bin:{os.environ["PATH"]}'
    done = set_up(AUTO_APT=auto_apt, PATH=path, PYTHON=python, VENV=tmp_path / 'env')
    assert done.returncode != 0
    if installs:
        assert 'apt-get install python3.11-venv' in done.stdout
        assert log.read_text().splitlines() == [
            'update -q',
            'install -y --no-install-recommends python3.11-venv',
        ]
    else:
        assert 'sudo apt-get install -y python3.11-venv' in done.stderr and not log.exists()


@pytest.mark.parametrize(
    ('user', 'apt', 'said'),
    [
        (0, 'exit 0', 'installing chromium'),
        (0, 'echo broken; exit 1', 'it cannot be installed'),
        (1000, 'exit 1', 'the tests of the page will skip'),
    ],
)
def test_a_browser_is_installed_where_that_is_possible(tmp_path, user, apt, said):
    log = tmp_path / 'apt.log'
    executable(tmp_path / 'bin/apt-get', f'echo "$@" >>{log}; {apt}')
    executable(tmp_path / 'bin/id', f'echo {user}')
    (tmp_path / 'bin/dirname').symlink_to(shutil.which('dirname'))  # all that the path has
    done = subprocess.run(
        ['/bin/bash', '-c', f'source {SCRIPT}; STATE={tmp_path}; want_browser; echo goes on'],
        env=dict(PATH=f'{tmp_path}/bin', VENV=str(tmp_path), HOME=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert said in done.stdout and done.stdout.endswith('goes on\n'), done.stderr
    assert log.exists() == (user == 0)


def build(tmp_path: Path, pip_wheel: str) -> subprocess.Popen:
    """Starts the script's build_ops with ``pip wheel`` replaced by a shell snippet.

    The snippet finds the folder for the wheel in ``$out``.
    """
    executable(
        tmp_path / 'env/bin/python',
        f'[ "$3" = wheel ] || exit 0; while [ "$1" != -w ]; do shift; done; out=$2; {pip_wheel}',
    )
    (tmp_path / 'wheels').mkdir()
    # Everything but the build itself is out of the way, and the waiting is short.
    steps = f"""
        source {SCRIPT}
        need_compiler() {{ :; }}
        sleep() {{ command sleep 0.05; }}
        build_ops {tmp_path}/wheels
    """
    return subprocess.Popen(
        ['bash', '-c', steps],
        env={**os.environ, 'VENV': str(tmp_path / 'env'), 'MAX_JOBS': '2'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # tests started in the background ignore Ctrl-C, and bash traps nothing that it was born to
        # ignore
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def left_in(folder: Path) -> list:
    return sorted(path.name for path in folder.iterdir())


def test_finished_build_leaves_the_wheel_and_its_log(tmp_path):
    job = build(tmp_path, 'echo "  [3/4] c++"; command sleep 0.6; echo ops >$out/mmcv.whl')
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert left_in(tmp_path / 'wheels') == ['build.log', 'mmcv.whl']
    assert '3 of 4 files compiled' in output


def test_failed_build_shows_the_log_and_leaves_no_wheel(tmp_path):
    job = build(tmp_path, 'echo half >$out/mmcv.whl; echo "nms.cpp: fatal error"; exit 1')
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 1
    assert 'nms.cpp: fatal error' in errors and 'build.log' in errors
    assert left_in(tmp_path / 'wheels') == ['build.log']


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT])
def test_stopped_build_leaves_no_wheel_and_no_compiler(tmp_path, stop):
    alive = tmp_path / 'compiler.pid'
    # The compiler is a grandchild, as ninja's are.
    job = build(tmp_path, f'echo half >$out/mmcv.whl; bash -c "echo \\$\\$ >{alive}; sleep 60"; :')
    wait_until(lambda: alive.exists() and alive.read_text().strip())
    job.send_signal(stop)
    job.communicate(timeout=300)
    assert job.returncode == 128 + stop
    assert left_in(tmp_path / 'wheels') == ['build.log']
    wait_until(lambda: not is_running(int(alive.read_text())))
