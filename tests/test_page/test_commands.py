"""``eclip-mm page``, ``make page`` and the evaluation of judged searches, without a browser."""

from importlib.metadata import PackageNotFoundError

import pytest

from eclip_mm.cli import main
from eclip_mm.index import Query, append_judged


def test_the_page_is_served_with_what_was_asked_for(search, model, page):
    index = search.index.folder
    assert main(['page', str(index), '--model', model, '-k', '3', '--port', '80']) == 0
    [(found, judged, k, report, host, port)] = page
    assert len(found.index) == len(search.index) and found.eclip is search.eclip
    assert judged == index.with_name('index_judged') / 'searches.jsonl'
    assert (k, report, host, port) == (3, None, '127.0.0.1', 80)


def test_the_report_of_an_audit_is_shown(search, model, page, tmp_path):
    (tmp_path / 'report.html').write_text('<h1>Ärger</h1>', encoding='utf-8')
    command = ['page', str(search.index.folder), '--model', model, '--audit', str(tmp_path)]
    assert main(command) == 0
    assert page[0][3] == '<h1>Ärger</h1>'


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['{}/nothing'], 'build the index'),
        (['{}', '--catalogue', 'gone.parquet'], 'gone.parquet'),
        (
            ['{}', '--audit', 'gone'],
            'gone/report.html is missing: give the folder',
        ),
    ],
)
def test_faults_are_one_line(search, model, page, capsys, arguments, words):
    arguments = [argument.format(search.index.folder) for argument in arguments]
    assert main(['page', *arguments, '--model', model]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith('eclip-mm page: ') and error.count('\n') == 1
    assert not page


def test_weights_of_another_index_are_refused(search, model, page, capsys, monkeypatch):
    monkeypatch.setitem(search.eclip.checkpoint, 'sha256', 'b' * 64)
    assert main(['page', str(search.index.folder), '--model', model]) == 1
    assert 'the query is of bbbb' in capsys.readouterr().err


@pytest.mark.parametrize('found', [None, '5.50.0'])
def test_without_gradio_6_it_says_what_to_install(monkeypatch, capsys, found):
    def version(name):
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr('eclip_mm.cli.page.version', version)
    assert main(['page', 'index', '--model', 'model']) == 1
    assert capsys.readouterr().err == "eclip-mm page needs Gradio 6: pip install -e '.[app]'\n"


def test_judged_searches_are_repeated(search, model, products, program, tmp_path):
    photo = products[4]['images'][1]['bytes']
    hits = search.search(Query(photo=photo), 3)
    judged = search.judged(Query(photo=photo), hits[1:], hits[1], (hits[0].product_id,))
    append_judged(tmp_path / 'j.jsonl', judged)
    name, index = 'analysis_tools/judged_searches.py', search.index.folder
    shown, _ = program(name, index, tmp_path / 'j.jsonl', '--model', model, '-k', '1')
    assert [line.split() for line in shown.splitlines()[2:]] == [
        ['right', 'first', '1', '0', '1'],
        ['right', 'among', '1', '1', '0', '1'],
        ['wrong', 'among', '1', '1', '1', '0'],
    ]
    (tmp_path / 'none.jsonl').write_text('\n')
    _, error = program(name, index, tmp_path / 'none.jsonl', '--model', model, expected=1)
    assert 'none.jsonl: there is no search in it' in error


def test_the_demo_page_asks_for_the_demo_and_builds_once(program, monkeypatch, tmp_path, search):
    _, error = program('demo_page.py', '--work-dir', tmp_path, expected=1)
    assert 'eclip_photos/last_checkpoint is missing: `make demo` trains' in error
    checkpoint = search.index.folder.parent / 'epoch_6.pth'
    (tmp_path / 'eclip_photos').mkdir()
    (tmp_path / 'eclip_photos/last_checkpoint').write_text(f'{checkpoint}\n')
    called = []
    monkeypatch.setattr('eclip_mm.cli.main', lambda words: called.append(words) or 0)
    program('demo_page.py', '--work-dir', tmp_path)
    assert [words[0] for words in called] == ['embed', 'index', 'page']
    (tmp_path / 'page').mkdir()
    (tmp_path / 'page/index').symlink_to(search.index.folder)
    program('demo_page.py', '--work-dir', tmp_path, '--port', '8000')
    assert [words[0] for words in called[3:]] == ['page']
    assert called[3][-1] == '8000'
