"""The whole way from a checkpoint to answers, by the commands of users."""

import json
from importlib.util import find_spec

import pytest
from PIL import Image

from helpers.catalogues import write_rows
from test_apis.conftest import TEXTS, write_checkpoint

pytestmark = pytest.mark.slow
#: command -> what it needs
SERVERS = dict(serve='fastapi', page='gradio')


def test_every_step_works_from_any_folder(program, tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    out, _ = program('journey.py', checkpoint, 'shop.parquet', 'made')
    steps = [line.split()[2] for line in out.splitlines() if line.startswith('$ eclip-mm')]
    servers = [name for name, part in SERVERS.items() if find_spec(part)]
    assert steps == ['export', 'embed', 'index', 'search', 'search', 'locate', *servers]
    assert ('a page of ' in out) == ('page' in servers)
    answers = [json.loads(line) for line in out.splitlines() if line.startswith('{')]
    found = [answer for answer in answers if 'hits' not in answer]
    assert [hit.get('rank') for hit in found] == [1, 2, 3, 1, 2, 3, None]
    assert found[3]['product_id'] == 'p0' and found[3]['score'] == pytest.approx(1, abs=1e-5)
    for answer in answers[len(found) :]:  # of the service: as `search` by the same words
        assert [hit['product_id'] for hit in answer['hits']] == [
            hit['product_id'] for hit in found[:3]
        ]
    assert len(answers) - len(found) == ('serve' in servers)
    assert found[-1]['products'][0]['name'] == TEXTS[0]
    assert Image.open('made/photo.jpg').size == (found[-1]['width'], found[-1]['height'])
    assert {path.name for path in (tmp_path / 'made').iterdir()} == {
        'model',
        'features',
        'index',
        'photo.jpg',
    }


def test_the_first_step_that_fails_ends_it(program, tmp_path):
    rows = [dict(product_id='p', text='mug', images=[dict(path='gone.jpg')])]
    write_rows(rows, tmp_path / 'shop.jsonl')
    (tmp_path / 'p.pth').write_bytes(b'')
    _, err = program(
        'journey.py', tmp_path / 'p.pth', tmp_path / 'no.jsonl', tmp_path / 'm', expected=1
    )
    assert 'no.jsonl' in err
