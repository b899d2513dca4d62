"""``eclip-mm encode``, ``locate`` and ``classify``, in this process, beside ``Eclip``."""

import io
import json
import sys

import numpy as np
import pytest

from eclip_mm.apis import Eclip
from eclip_mm.cli import main
from helpers.catalogues import encode
from helpers.results import assert_same
from test_apis.conftest import write_checkpoint

NAMES = ['red mug', 'blue mug', 'green bowl']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint, two pictures, and a file that is no picture."""
    path = tmp_path_factory.mktemp('cli')
    write_checkpoint(path)
    rng = np.random.default_rng(0)
    for k in range(2):
        pixels = rng.integers(256, size=(40, 24 + 8 * k, 3), dtype=np.uint8)
        (path / f'{k}.png').write_bytes(encode(pixels))
    (path / 'broken.jpg').write_bytes(b'nothing')
    return path


@pytest.fixture
def run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)

    def call(command, *arguments, stdin='', expected=0):
        monkeypatch.setattr(sys, 'stdin', io.StringIO(stdin))
        assert main([command, 'epoch_6.pth', *arguments]) == expected
        shown = capsys.readouterr()
        return [json.loads(line) for line in shown.out.splitlines()], shown.err

    return call


def test_lines_are_the_results_of_eclip(run, folder):
    eclip, pictures = Eclip('epoch_6.pth', device='cpu'), ['0.png', '1.png']
    lines, err = run('encode', 'red mug', *pictures)
    wanted = eclip.encode(['red mug', *pictures])
    assert lines == [dict(id=i, **r) for i, r in zip(['red mug', *pictures], wanted, strict=True)]
    assert err == ''  # no bar where no terminal is
    options = '--names', *NAMES, '--top-k', '2', '--maps', '--batch-size', '1'
    wanted = eclip.locate(pictures, NAMES, top_k=2, maps=True, batch_size=1)
    assert [dict(r, id=None) for r in run('locate', *pictures, *options)[0]] == [
        dict(r, id=None) for r in wanted
    ]
    (folder / 'names.txt').write_text('\ufeffred mug\n\n blue mug \ngreen bowl\n')
    options = '--names-file', 'names.txt', '--template', 'a {}', '--top-k', '1'
    (line,) = run('classify', '0.png', *options)[0]
    assert line == dict(id='0.png', **eclip.classify('0.png', NAMES, template='a {}', top_k=1))


def test_json_lines_in_give_json_lines_out_in_their_order(run, folder):
    rows = ['red mug', dict(id=7, image='0.png', text='red mug'), dict(text='logo.png')]
    text = '\n'.join(map(json.dumps, rows)) + '\n\n'
    (folder / 'rows.jsonl').write_text(text)
    found = run('encode', '--jsonl', '-', stdin=text)[0]
    assert run('encode', '--jsonl', 'rows.jsonl', '--batch-size', '2')[0] == [
        dict(line, vector=pytest.approx(line['vector'], abs=1e-6)) for line in found
    ]
    assert [line['kind'] for line in found] == ['text', 'instance', 'text']
    assert [line['id'] for line in found] == ['red mug', 7, dict(text='logo.png')]


def test_names_of_a_catalogue_as_negatives(run, folder):
    names = 'red mug, blue bowl, yellow plate'.split(', ')
    (folder / 'catalogue.txt').write_text('\n'.join(names))
    listed = run('locate', '0.png', '--names', 'red mug', '--negatives', 'catalogue.txt')[0]
    wanted = Eclip('epoch_6.pth', device='cpu', negatives=names).locate('0.png', ['red mug'])
    assert listed == [dict(id='0.png', **wanted)]
    assert listed != run('locate', '0.png', '--names', 'red mug')[0]


def test_an_input_that_fails_has_its_line_and_the_exit_code_says_so(run):
    lines, err = run('encode', '0.png', 'broken.jpg', 'red mug', expected=3)
    assert [list(line) for line in lines] == [
        ['id', 'kind', 'vector'],
        ['id', 'error'],
        ['id', 'kind', 'vector'],
    ]
    assert 'broken.jpg' in lines[1]['error'] and 'inputs without a result: 1' in err


#: line -> id, and what its error says after the number of the line
BAD_LINES = {
    b'{': (None, 'it is not JSON'),
    b'[' * 100_000: (None, 'it is not JSON'),
    b'{"text": "a", "id": NaN}': (None, 'NaN is no number in JSON'),
    b'"caf\xe9"': (None, 'it is not UTF-8'),
    b'{"text": "a", "titel": 3, "id": 7}': (7, "unknown key 'titel'; known: id, image, text"),
    b'{"id": 8}': (8, 'write a string, or an object'),
    b'[3]': ([3], 'write a string, or an object'),
    b'null': (None, 'write a string, or an object'),
}


@pytest.mark.parametrize('batch_size', ['1', '3', '32'])
def test_bad_lines_are_results_in_their_places(run, folder, batch_size):
    (folder / 'bad.jsonl').write_bytes(b'\n'.join(b'\n%b\n"mug"' % line for line in BAD_LINES))
    lines, err = run('encode', '--jsonl', 'bad.jsonl', '--batch-size', batch_size, expected=3)
    assert [line['id'] for line in lines[1::2]] == ['mug'] * len(BAD_LINES)
    assert all(line['kind'] == 'text' for line in lines[1::2])
    for number, (line, (name, words)) in enumerate(
        zip(lines[::2], BAD_LINES.values(), strict=True)
    ):
        assert line['id'] == name and line['error'].startswith(
            f'bad.jsonl, line {3 * number + 2}: '
        )
        assert words in line['error']
    assert f'inputs without a result: {len(BAD_LINES)}' in err


@pytest.mark.parametrize(
    ('command', 'options'),
    [
        ('encode', []),
        ('locate', ['--names', 'red mug', 'bowl']),
        ('classify', ['--names', 'red mug', 'bowl']),
    ],
)
def test_bad_pictures_and_lines_leave_the_others(run, command, options):
    given = ['"broken.jpg"', '{"image": 5, "id": 1}', '{', '"0.png"', '"gone.jpg"', '"1.png"', '{']
    lines, _ = run(command, '--jsonl', '-', *options, stdin='\n'.join(given), expected=3)
    assert ['error' in line for line in lines] == [True, True, True, False, True, False, True]
    assert 'standard input, line 3: ' in lines[2]['error'] and 'gone.jpg' in lines[4]['error']
    assert_same(lines[3], run(command, '0.png', *options)[0][0])


def test_halves_of_characters_stop_nothing(run):
    """As JSON may name them, and as the names of files that are not UTF-8 have them."""
    given = '"\\ud800 mug"\n{"image": "\\udce9.jpg", "id": "\\udce9"}\n"mug"'
    lines, _ = run('encode', '--jsonl', '-', stdin=given, expected=3)
    assert 'half of a character' in lines[0]['error'] and lines[2]['kind'] == 'text'
    assert lines[1]['id'] == '\udce9' and 'error' in lines[1]


def test_a_bar_is_shown_on_a_terminal_alone(run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def shown(*options):
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, 'stderr', terminal)
            run('encode', 'red mug', '0.png', *options)
        return terminal.getvalue()

    assert '2/2' in shown() and shown('--quiet') == ''
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    assert shown() == ''  # the lines themselves are there


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['encode', '{}'], 2, 'give inputs, or --jsonl'),
        (['encode', '{}', 'a', '--jsonl', '-'], 2, 'and not both'),
        (['encode', '{}', 'a', '--batch-size', '0'], 2, 'at least 1'),
        (['locate', '{}', 'a.jpg'], 2, '--names'),
        (['locate', '{}', 'a.jpg', '--names', 'mug', '--top-k', '-1'], 2, 'at least 1'),
        (['classify', '{}', 'a.jpg', '--names', 'mug', '--top-k', '-1'], 2, 'at least 1'),
        (['detect', '{}', 'a.jpg'], 1, 'a pretrained model, which cannot detect; it has'),
        (['encode', '{}', 'a', '--backend', 'onnx'], 1, 'has no ONNX graphs: write it with'),
        (['encode', 'gone', 'a'], 1, 'gone is neither a checkpoint nor a folder'),
        (['encode', '{}', '--jsonl', 'gone.jsonl'], 1, 'gone.jsonl'),
        (['locate', '{}', '0.png', '--names-file', 'empty.txt'], 1, 'empty.txt has no name'),
    ],
)
def test_faults_have_a_line_and_an_exit_code(folder, capsys, monkeypatch, arguments, code, words):
    monkeypatch.chdir(folder)
    (folder / 'empty.txt').write_text('\n')
    try:
        found = main([a.format('epoch_6.pth') for a in arguments])
    except SystemExit as end:  # argparse
        found = end.code
    err = capsys.readouterr().err
    assert found == code and words in err and f'eclip-mm {arguments[0]}: ' in err
    assert code == 2 or err.count('\n') == 1


@pytest.mark.parametrize('command', ['encode', 'locate', 'detect', 'classify', 'index', 'search'])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, '--help'])
    assert stopped.value.code == 0 and f'\n  eclip-mm {command} ' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('error', 'code', 'shown'),
    [
        (BrokenPipeError(), 0, ''),
        (KeyboardInterrupt(), 130, 'eclip-mm encode: interrupted\n'),
        (KeyError("'x' is unknown"), 1, "eclip-mm encode: 'x' is unknown\n"),
    ],
)
def test_how_a_command_ends(tmp_path, capsys, monkeypatch, error, code, shown):
    """A reader that has enough, such as head, is no error."""

    def fail(arguments, name):
        raise error

    monkeypatch.setattr('eclip_mm.cli.encode.main', fail)
    with open(tmp_path / 'pipe', 'w') as file:
        monkeypatch.setattr(sys, 'stdout', file)
        assert main(['encode']) == code
    assert capsys.readouterr().err == shown


def test_the_traceback_is_shown_if_asked_for(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(FileNotFoundError):
        main(['encode', 'gone', 'a', '--traceback'])
