"""How programs fail: what, where and what to do, in one or a few lines."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import Registry

from eclip_mm.config import name_config_in_errors
from eclip_mm.datasets import CatalogueError
from eclip_mm.utils.command import CommandParser, describe_error, run_command

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(
    path
    for path in ROOT.glob('tools/**/*.py')
    if "__name__ == '__main__'" in path.read_text(encoding='utf-8')
)
WORKER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "fetch.py", line 5, in fetch
    raise ValueError(1)
ValueError: a.jsonl, row 3: no picture; add one
"""


def fail(monkeypatch, error, *words):
    """What the program ends with: a message, or the error itself."""

    def main():
        assert vars(CommandParser().parse_args()) == {}
        raise error

    monkeypatch.setattr(sys, 'argv', ['tool.py', *words])
    with pytest.raises((SystemExit, type(error))) as ended:
        run_command(main)
    return ended.value


@pytest.mark.parametrize(
    ('error', 'shown'),
    [
        (CatalogueError('a.jsonl, row 3: no text; add one'), 'a.jsonl, row 3: no text; add one'),
        (KeyError("c.py: no key 'modle'\nsee above"), "c.py: no key 'modle'\nsee above"),
        (FileNotFoundError(2, 'No such file', 'a.py'), "[Errno 2] No such file: 'a.py'"),
        (KeyError('id'), 'KeyError: id'),
        (AssertionError(), 'AssertionError: '),
        (AttributeError('None has no attribute x'), 'AttributeError: None has no attribute x'),
        (ValueError(WORKER), 'ValueError: a.jsonl, row 3: no picture; add one'),
        # as some versions of mmengine say what they were building
        (
            ValueError('class `A` in a/b.py: class `B` in c.py: a.jsonl: broken; mend it'),
            'a.jsonl: broken; mend it',
        ),
        (
            TypeError('class `A` in a.py: class `B` in c.py: no argument pth'),
            'TypeError: B: no argument pth',
        ),
    ],
)
def test_an_error_is_its_message(error, shown, monkeypatch):
    ended = fail(monkeypatch, error)
    own = isinstance(error, CatalogueError)
    hint = '' if own else '\n(--traceback shows where it was raised)'
    assert str(ended.code) == f'error: {shown}{hint}'


def test_the_traceback_is_there_if_asked_for(monkeypatch):
    error = ValueError('a.py: broken; mend it')
    assert fail(monkeypatch, error, '--traceback') is error
    assert fail(monkeypatch, error) is not error, 'the next program begins without'


def test_ctrl_c_is_one_word(monkeypatch, capsys):
    assert fail(monkeypatch, KeyboardInterrupt()).code == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_classes_that_were_being_built_are_named_once_or_not_at_all():
    registry = Registry('thing')

    @registry.register_module()
    class Inner:
        def __init__(self, path=None):
            if path:
                raise CatalogueError(f'{path}: broken; mend it')

    @registry.register_module()
    class Outer:
        def __init__(self, **inner):
            registry.build(dict(type='Inner', **inner))

    for given, shown in (
        (dict(path='a.jsonl'), 'a.jsonl: broken; mend it'),
        (dict(pth='a.jsonl'), "Inner.__init__() got an unexpected keyword argument 'pth'"),
    ):
        with pytest.raises((ValueError, TypeError)) as error:
            registry.build(dict(type='Outer', **given))
        assert describe_error(error.value).endswith(shown)


def test_the_name_of_the_config_makes_no_escape_of_a_key_error():
    with pytest.raises(KeyError) as error, name_config_in_errors('my/config.py'):
        raise KeyError('there is no such key')
    assert '\\n' not in str(error.value) and '(config: my/config.py)' in str(error.value)


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.name)
def test_every_program_has_both(path):
    """It runs by run_command, and imports what is slow when its arguments have been read."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    assert ast.unparse(tree.body[-1]).splitlines()[-1].strip().startswith('run_command(main')
    names = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    quick = {'eclip_mm.utils.' + name for name in ('arguments', 'command', 'options', 'files')}
    slow = [n for n in names if n.startswith(('eclip_mm', 'torch', 'mmengine', 'transformers'))]
    assert set(slow) <= quick | {'eclip_mm.utils.text_table'}


@pytest.mark.slow
def test_help_of_all_programs_needs_no_torch():
    code = (
        'import os, runpy, sys\n'
        'for path in sys.argv[1:]:\n'
        '    sys.path.insert(0, os.path.dirname(path))\n'
        "    sys.argv = [path, '--help']\n"
        '    try:\n'
        "        runpy.run_path(path, run_name='__main__')\n"
        '    except SystemExit as end:\n'
        '        assert not end.code, path\n'
        "    slow = {'torch', 'mmengine', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        '    assert not slow, (path, slow)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, TOOLS)],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('--traceback') >= len(TOOLS)
