"""What the make targets would run, without running it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which('make'), reason='needs make'),
]


# What an outer `make test ARGS=... VENV=...` hands down, and would change the answers.
OUTER = ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'ARGS', 'VENV')


def make(*arguments: str) -> str:
    done = subprocess.run(
        ['make', '--no-print-directory', *arguments],
        cwd=REPO,
        env={name: value for name, value in os.environ.items() if name not in OUTER},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_compiles_nothing():
    lines = make('-n', 'demo', 'ARGS=--steps 5', 'VENV=.venv').splitlines()
    assert lines == [
        'bash tools/setup_env.sh',
        f'{REPO}/.venv/bin/python tools/demo.py --steps 5',
    ]


def test_test_sets_up_ops_first():
    lines = make('-n', 'test', 'VENV=.venv').splitlines()
    assert lines[0] == 'bash tools/setup_env.sh --tests --det'
    options = '-n 2 --dist loadgroup --durations 20'
    assert lines[1].strip() == f'{REPO}/.venv/bin/python -m pytest {options}'


def test_words_of_the_user_come_last_and_win():
    command = make('-n', 'test', 'VENV=/opt/conda', 'ARGS=-n 0 tests/test_models').splitlines()[1]
    assert command.startswith('/opt/conda/bin/python -m pytest ')
    assert command.endswith(' --durations 20 -n 0 tests/test_models')


def test_lint_runs_the_hooks():
    assert 'pre-commit run --all-files' in make('-n', 'lint')


def test_help_lists_every_target():
    phony = re.search(r'^\.PHONY: (.*)$', (REPO / 'Makefile').read_text(), re.M)[1].split()
    listed = re.findall(r'^  make ([a-z-]+)', make(), re.M)
    assert sorted(listed) == sorted(phony)


def test_clean_spares_what_a_user_made():
    commands = make('-n', 'clean')
    for precious in ('.venv', 'work_dirs', 'data', 'demo_output'):
        assert not re.search(rf'(^|[\s/]){re.escape(precious)}(/|\s|$)', commands)
