"""Configs and programs of a checkout and of an installed wheel are found by name."""

import pytest

from eclip_mm.config import load_config
from eclip_mm.utils import shipped
from eclip_mm.utils.shipped import find_config, find_program


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with ``.mim``, as a wheel installs it, and another current folder."""
    package = tmp_path / 'site-packages/eclip_mm'
    for name in ('configs/demo/one.py', 'tools/train.py'):
        (package / '.mim' / name).parent.mkdir(parents=True)
        (package / '.mim' / name).write_text('work_dir = None\n')
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    monkeypatch.setattr(shipped, 'PACKAGE', package)
    return package / '.mim'


@pytest.mark.parametrize('name', ['demo/one.py', 'configs/demo/one.py'])
def test_a_config_is_found_by_its_name(installed, name, tmp_path):
    assert find_config(name) == str(installed / 'configs/demo/one.py')
    assert load_config(name).filename == str(installed / 'configs/demo/one.py')
    own = tmp_path / 'work' / name
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_config(name) == name, 'a file of the user comes first'


def test_what_is_not_there_is_named(installed):
    with pytest.raises(FileNotFoundError, match='no config file demo/two.py, and .*has no demo'):
        find_config('demo/two.py')
    with pytest.raises(FileNotFoundError, match='no config file /configs/demo/one.py$'):
        find_config('/configs/demo/one.py')
    assert find_program('train.py') == installed / 'tools/train.py'
    with pytest.raises(FileNotFoundError, match='fly.py is in none of .*mim/tools/fly.py'):
        find_program('fly.py')


def test_a_checkout_has_both(repo_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config('demo/eclip_photos.py') == str(repo_root / 'configs/demo/eclip_photos.py')
    assert find_program('export.py') == repo_root / 'tools/export.py'
