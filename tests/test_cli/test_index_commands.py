"""The command eclip-mm, in this process."""

import io
import json
import re
import sys

import numpy as np
import pytest

import eclip_mm.apis
from eclip_mm.cli import commands, main
from eclip_mm.index import VectorIndex
from helpers.feature_folders import write_features


@pytest.fixture
def folder(tmp_path):
    vectors = write_features(tmp_path / 'features', [f'p{i}' for i in range(9)])
    np.save(tmp_path / 'queries.npy', vectors[:2])
    main(['index', 'build', str(tmp_path / 'index'), str(tmp_path / 'features')])
    return tmp_path


def test_build_search_and_change(folder, capsys):
    index = str(folder / 'index')
    assert main(['index', 'build', index, str(folder / 'features')]) == 0
    assert 'recall@10 of 18 rows: 1.0000' in capsys.readouterr().err
    assert main(['search', index, '--vectors', str(folder / 'queries.npy'), '-k', '2']) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(hit['query'], hit['rank']) for hit in hits] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [hits[0]['product_id'], hits[2]['product_id']] == ['p0', 'p1']
    main(['search', index, '--like', 'p0', '--where', 'category=boots', 'source=comment'])
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {hit['product_id'] for hit in hits} == {'p1', 'p4', 'p7'}
    write_features(folder / 'more', ['x'])
    assert main(['index', 'add', index, str(folder / 'more')]) == 0
    assert main(['index', 'remove', index, 'p0', 'p1']) == 0
    assert main(['index', 'info', index]) == 0
    assert json.loads(capsys.readouterr().out)['alive'] == 18 + 1 - 3
    assert main(['index', 'opensearch', index, str(folder / 'bulk.ndjson')]) == 0
    assert len((folder / 'bulk.ndjson').read_text().splitlines()) == 32


def test_words_and_photos_go_through_the_model(folder, capsys, monkeypatch):
    class Eclip:
        def __init__(self, source):
            self.checkpoint = dict(sha256=source * 64)

        def encode(self, inputs):
            rows = dict(first=0, second=1)
            vectors = np.load(folder / 'queries.npy')
            words = [
                value if isinstance(value, str) else value.get('text', '') for value in inputs
            ]
            return [
                dict(error=f'{word} is broken')
                if word.startswith('broken')
                else dict(vector=vectors[rows.get(word, 0)])
                for word in words
            ]

    monkeypatch.setattr(eclip_mm.apis, 'Eclip', Eclip, raising=False)
    args = ['search', str(folder / 'index'), 'red shoes', 'photo.jpg', '-k', '1', '--model']
    assert main([*args, 'a']) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [hit['product_id'] for hit in found] == ['p0', 'p0']
    assert main([*args, 'b']) == 1
    assert 'the query is of bbbb' in capsys.readouterr().err
    given = ['"first"', '{', '{"text": "broken", "image": "a.jpg", "id": 7}', '"second"']
    given += ['{"text": "second", "image": null, "id": 8}', '{"image": "a.jpg", "text": "second"}']
    (folder / 'queries.jsonl').write_text('\n'.join(given))
    args = ['search', str(folder / 'index'), '--jsonl', str(folder / 'queries.jsonl'), '-k', '1']
    assert main([*args, '--model', 'a']) == 3
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line['query'] for line in lines] == list(range(6))
    assert [line['id'] for line in lines[:5]] == ['first', None, 7, 'second', 8]
    assert [line.get('product_id') for line in lines[:5]] == ['p0', None, None, 'p1', 'p1']
    assert 'queries.jsonl, line 2: it is not JSON' in lines[1]['error']
    assert lines[2]['error'] == 'broken is broken' and 'inputs without a result: 2' in shown.err
    both = np.load(folder / 'queries.npy').sum(0)  # the words and the photo, which is the first
    wanted = VectorIndex(folder / 'index').search(both, 1)[0][0]
    assert lines[5]['score'] == pytest.approx(wanted['score'])


def test_a_build_shows_how_far_it_is(folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    arguments = ['index', 'build', str(folder / 'index'), str(folder / 'features')]
    with monkeypatch.context() as patch:
        patch.setattr(sys, 'stderr', terminal)
        main(arguments)
        assert '27/27' in terminal.getvalue()  # nine products, read three times
        patch.setattr(sys, 'stderr', quiet := Terminal())
        main([*arguments, '--quiet'])
    assert 'product' not in quiet.getvalue() and 'recall' in quiet.getvalue()


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['search', '{}', '--like', 'unknown'], "has no product_id 'unknown'"),
        (['search', '{}', '--like', 'p0', '--where', 'size=3'], "column 'size' is unknown"),
        (['search', '{}/nothing', '--like', 'p0'], 'build the index'),
        (['index', 'build', '{}', '{}/nothing'], 'is missing'),
        (['search', '{}', '--vectors', '{}/empty.npy'], 'No data left in file'),
        (['search', '{}', '--vectors', '{}/index.json'], 'pickle'),
    ],
)
def test_faults_are_one_line(folder, capsys, arguments, words):
    (folder / 'index/empty.npy').touch()
    capsys.readouterr()
    arguments = [a.format(folder / 'index') for a in arguments]
    assert main(arguments) == 1
    error = capsys.readouterr().err.replace('\n(--traceback shows where it was raised)', '')
    with pytest.raises(Exception, match=re.escape(words)):
        main([*arguments, '--traceback'])
    assert (
        words in error and error.count('\n') == 1 and error.startswith(f'eclip-mm {arguments[0]}')
    )


def test_the_list_of_commands(capsys):
    assert main(['--help']) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*commands.PROGRAMS, *commands.MODULES))
    assert main([]) == 2 and main(['fly']) == 2
    assert "'fly' is no command" in capsys.readouterr().err


@pytest.mark.parametrize('command', commands.PROGRAMS)
def test_programs_run_with_their_arguments(command, capsys):
    before = sys.argv, sys.path[:]
    with pytest.raises(SystemExit) as stopped:
        main([command, '--help'])
    assert stopped.value.code == 0 and commands.PROGRAMS[command][0] in capsys.readouterr().out
    assert (sys.argv, sys.path) == before


def test_the_demo_fetches_nothing_where_its_photos_are_not(tmp_path, monkeypatch):
    def fetch(*_):
        raise AssertionError('towers are fetched')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('eclip_mm.checkpoint.towers.getting.get_tower', fetch)
    with pytest.raises(SystemExit, match='sample_photos.*there is no such catalogue'):
        main(['demo'])
