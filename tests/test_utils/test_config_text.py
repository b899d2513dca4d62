"""Config text from a checkpoint: plain values come back, anything else is refused unread."""

import pytest
from mmengine.config import Config

from eclip_mm.utils.config_text import ConfigTextError, parse_config_text, refuse_import_paths


def test_what_mmengine_writes_comes_back():
    values = dict(
        model=dict(type='A', sizes=(1, -2, 3.5e-4), nested=[dict(x=None, y=True), [], ()]),
        words={'not a name': 'it\'s "quoted"\n', 'α': 'ü', 3: {1, 2}},
        title='a very long text ' * 20,
        nothing=None,
    )
    assert parse_config_text(Config(values).pretty_text) == values


def test_every_config_of_the_repository_comes_back(repo_root):
    paths = sorted((repo_root / 'configs/demo').glob('*.py'))
    assert paths
    for path in paths:
        cfg = Config.fromfile(path)
        assert parse_config_text(cfg.pretty_text) == cfg.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        "import os; os.system('touch {mark}')",
        "a = 1\n__import__('os').system('touch {mark}')",
        "a = __import__('os').system('touch {mark}')",
        "a = dict(x=[open('{mark}', 'w')])",
        "a = dict(**open('{mark}', 'w'))",
        "a = dict([('x', 1)])",
        "a = {{**{{'x': 1}}}}",
        "a = [x for x in open('{mark}', 'w')]",
        "a = (lambda: open('{mark}', 'w'))()",
        "a = f'{{open(chr(97))}}'",
        "def dict(**kwargs): open('{mark}', 'w')\na = dict()",
        'a: int = 1',
        'a = b = 1',
        'a.b = 1',
        'a, b = 1, 2',
        "a['x'] = 1",
        'a = 9 ** 9 ** 9',
        "a = 'x' * 9999999999",
        'a = b',
        "a = b'bytes'",
        'a = ...',
        'a = -True',
        "a = -'x'",
        'a = {{[]: 1}}',
        'a = {{{{}}}}',
        'a = lazy(x=1)',
        'a = x.dict(y=1)',
        'while True: pass',
    ],
)
def test_code_is_refused_and_never_runs(text, tmp_path):
    mark = tmp_path / 'mark'
    with pytest.raises(ConfigTextError, match=r'ckpt\.pth, line \d') as error:
        parse_config_text('first = 1\n' + text.format(mark=mark), 'ckpt.pth')
    assert 'line 1' not in str(error.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    'text, words',
    [
        ('a = (', 'line 1: is not Python'),
        ('a = 1\0', 'is not Python'),
        ('a = ' + '[' * 5000 + ']' * 5000, 'ckpt.pth'),
        ('a = ' + '-' * 50000 + '1', 'ckpt.pth'),
        ('a = 1\n' * 200000, 'at most'),
        (b'a = 1', 'is not text'),
        (dict(a=1), 'is not text'),
    ],
)
def test_damaged_and_endless_text_is_an_error_of_one_kind(text, words):
    with pytest.raises(ConfigTextError, match=words):
        parse_config_text(text, 'ckpt.pth')


@pytest.mark.parametrize(
    'bad', [dict(type='os.system', command='x'), dict(type='A', _scope_='some_package')]
)
def test_a_component_is_not_named_by_an_import_path(bad):
    refuse_import_paths(dict(type='A', b=[dict(type='B', c='x.y'), (1, {'a.b': None})]), 'ckpt')
    for config in (bad, dict(model=bad), [dict(type='B', parts=(bad,))]):
        with pytest.raises(ConfigTextError, match='ckpt: type .* would import and call'):
            refuse_import_paths(config, 'ckpt')
