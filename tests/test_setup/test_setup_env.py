"""tools/setup_env.sh: its refusals, and that a stopped build leaves no half wheel."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SCRIPT = REPO / 'tools/setup_env.sh'


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


def test_unknown_flag_is_refused(tmp_path):
    done = set_up('--dett', VENV=tmp_path / 'env')
    assert done.returncode == 1
    assert 'unknown flag --dett' in done.stderr
    assert not (tmp_path / 'env').exists()


def test_old_python_is_refused_by_name(tmp_path):
    old = executable(tmp_path / 'python3', 'exit 1')
    done = set_up(VENV=tmp_path / 'env', PYTHON=old)
    assert done.returncode == 1
    assert f'no Python >= 3.10 among: {old}' in done.stderr
    assert 'PYTHON=/path/to' in done.stderr


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    done = set_up(VENV=tmp_path)
    assert done.returncode == 1
    assert 'neither a Python environment nor an empty folder' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


@pytest.fixture
def bare_debian(tmp_path):
    """PATH of a Debian whose python3 has no venv module until apt-get is called."""
    log = tmp_path / 'apt.log'
    executable(tmp_path / 'bin/apt-get', f'echo "$@" >>{log}')
    # Stops the set-up where it would make the environment: nothing after it is meant.
    python = executable(
        tmp_path / 'bin/python3',
        'case "$*" in *ensurepip*) exit 1 ;; *"print("*) echo 3.11 ;; *" venv "*) exit 9 ;; esac',
    )
    return {
        'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}',
        'PYTHON': python,
        'VENV': tmp_path / 'env',
        'log': log,
    }


@pytest.mark.parametrize(('user', 'auto_apt'), [(0, '0'), (1000, '1')])
def test_missing_venv_module_names_the_command(bare_debian, user, auto_apt):
    executable(Path(bare_debian['PYTHON']).with_name('id'), f'echo {user}')
    log = bare_debian.pop('log')
    done = set_up(AUTO_APT=auto_apt, **bare_debian)
    assert done.returncode == 1
    assert 'sudo apt-get install -y python3.11-venv' in done.stderr
    assert not log.exists()


def test_missing_venv_module_is_installed_as_root(bare_debian):
    executable(Path(bare_debian['PYTHON']).with_name('id'), 'echo 0')
    log = bare_debian.pop('log')
    done = set_up(AUTO_APT='1', **bare_debian)
    assert 'apt-get install python3.11-venv' in done.stdout
    assert log.read_text().splitlines() == [
        'update -q',
        'install -y --no-install-recommends python3.11-venv',
    ]


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
    output, errors = job.communicate(timeout=20)
    assert job.returncode == 0, errors
    assert left_in(tmp_path / 'wheels') == ['build.log', 'mmcv.whl']
    assert '3 of 4 files compiled' in output


def test_failed_build_shows_the_log_and_leaves_no_wheel(tmp_path):
    job = build(tmp_path, 'echo half >$out/mmcv.whl; echo "nms.cpp: fatal error"; exit 1')
    _, errors = job.communicate(timeout=20)
    assert job.returncode == 1
    assert 'nms.cpp: fatal error' in errors and 'build.log' in errors
    assert left_in(tmp_path / 'wheels') == ['build.log']


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT])
def test_stopped_build_leaves_no_wheel_and_no_compiler(tmp_path, stop):
    alive = tmp_path / 'compiler.pid'
    # The compiler is a grandchild, as ninja's are.
    job = build(tmp_path, f'echo half >$out/mmcv.whl; bash -c "echo \\$\\$ >{alive}; sleep 60"; :')
    wait_for(lambda: alive.exists() and alive.read_text().strip())
    job.send_signal(stop)
    job.communicate(timeout=20)
    assert job.returncode == 128 + stop
    assert left_in(tmp_path / 'wheels') == ['build.log']
    wait_for(lambda: not is_running(int(alive.read_text())))


def is_running(pid: int) -> bool:
    try:
        # A zombie, dead but not yet collected by init, does not count.
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.05)
