"""Fixtures that all tests share; :mod:`helpers.rules` and :mod:`helpers.groups` hold for all."""

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

# Before torch is imported, and for the processes that tests start: two tests run at a time, and
# more threads than cores only get in each other's way.
os.environ['OMP_NUM_THREADS'] = '1'
# Asking CUDA whether there is a GPU would keep forked processes from using it.
os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')

import mmengine.hooks.runtime_info_hook  # noqa: E402
import mmengine.runner.runner  # noqa: E402
import pytest  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from helpers.workplace import Workplace  # noqa: E402

pytest_plugins = ['helpers.rules', 'helpers.groups', 'pytester']
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session', autouse=True)
def _environment():
    init_default_scope('eclip_mm')
    # every Runner asks the compiler and git for their versions, by a process each
    mmengine.runner.runner.collect_env = dict
    mmengine.hooks.runtime_info_hook.get_git_hash = str


def _folder(variable: str, what: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f'{variable} does not name the folder of {what}')
    return Path(os.environ[variable])


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder with ``GroceryStoreDataset/`` and ``snacks/``; for tests marked ``data``."""
    return _folder('ECLIP_MM_DATA', 'GroceryStoreDataset and snacks')


@pytest.fixture(scope='session')
def cases_root() -> Path:
    """The folder with small real-world inputs, a folder each; for tests marked ``data``."""
    return _folder('ECLIP_MM_CASES', 'small real-world inputs')


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """Top folder of the checkout."""
    return ROOT


@pytest.fixture
def program(monkeypatch, capsys) -> Callable[..., tuple[str, str]]:
    """Runs a file of tools/ in this process and returns what it printed: output and errors."""

    def run(name: str, *args, expected: int = 0) -> tuple[str, str]:
        path = str(ROOT / 'tools' / name)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        monkeypatch.syspath_prepend(os.path.dirname(path))
        code = 0
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        shown = capsys.readouterr()
        assert code == expected, shown.err
        return shown.out, shown.err

    return run


@pytest.fixture(scope='session')
def workplace(tmp_path_factory, repo_root) -> Workplace:
    """A folder with a tiny catalogue and config, in which the tools can be started."""
    return Workplace(tmp_path_factory.mktemp('workplace'), repo_root)
