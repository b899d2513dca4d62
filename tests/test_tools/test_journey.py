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
    before = 'export encode embed index index search search classify locate locate audit'
    assert steps == [*before.split(), *servers]
    assert ('a page of ' in out) == ('page' in servers)
    answers = [json.loads(line) for line in out.splitlines() if line.startswith('{')]
    found = dict(encode=answers[:2], info=answers[2], words=answers[3:6], photo=answers[6:9])
    assert [line['kind'] for line in found['encode']] == ['text', 'image']
    assert found['info']['alive'] == found['info']['num_rows'] and found['info']['recall']
    for name in ('words', 'photo'):
        assert [hit['rank'] for hit in found[name]] == [1, 2, 3]
    best = found['photo'][0]
    assert best['product_id'] == 'p0' and best['score'] == pytest.approx(1, abs=1e-5)
    assert answers[9]['classes'][0]['name'] in TEXTS and len(answers[9]['classes']) == 1
    located = answers[10]
    assert located['products'][0]['name'] == TEXTS[0]
    assert Image.open('made/photo.jpg').size == (located['width'], located['height'])
    assert len(answers) - 11 == ('serve' in servers)
    for answer in answers[11:]:  # of the service: as `search` by the same words
        assert [hit['product_id'] for hit in answer['hits']] == [
            hit['product_id'] for hit in found['words']
        ]
    assert {path.name for path in (tmp_path / 'made').iterdir()} == {
        'model',
        'features',
        'index',
        'photo.jpg',
        'boxes.json',
        'boxes_pictures',
        'audit',
    }


def test_the_first_step_that_fails_ends_it(program, tmp_path):
    rows = [dict(product_id='p', text='mug', images=[dict(path='gone.jpg')])]
    write_rows(rows, tmp_path / 'shop.jsonl')
    (tmp_path / 'p.pth').write_bytes(b'')
    _, err = program(
        'journey.py', tmp_path / 'p.pth', tmp_path / 'no.jsonl', tmp_path / 'm', expected=1
    )
    assert 'no.jsonl' in err
