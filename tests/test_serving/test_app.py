"""The service over HTTP: its answers are those of the model, and what it refuses."""

import base64
import random
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from eclip_mm.serving import build_app
from helpers.pictures import save
from test_datasets.test_fuzzed_pictures import mutate

RNG = np.random.default_rng(0)
FILES = [
    save(Image.fromarray(RNG.integers(256, size=(40, 24 + 8 * k, 3), dtype=np.uint8)), 'PNG')
    for k in range(4)
]
NAMES = ['red mug', 'blue mug', 'green bowl']


def text_of(file: bytes) -> str:
    return base64.b64encode(file).decode()


PICTURE = text_of(FILES[0])
CLOSE = dict(abs=1e-5)


def close(found, wanted):
    """Whether two answers are equal but for the last bits of their numbers."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    else:
        assert found == (pytest.approx(wanted, **CLOSE) if isinstance(wanted, float) else wanted)


def test_answers_are_those_of_the_model(client, eclip, index):
    file = FILES[0]
    inputs = [dict(text='a.jpg'), dict(image=PICTURE), dict(image=PICTURE, text='red mug')]
    found = client.post('/encode', json=dict(inputs=inputs)).json()['results']
    wanted = eclip.encode([dict(text='a.jpg'), file, dict(image=file, text='red mug')])
    close(found, wanted)
    found = client.post('/locate', json=dict(image=PICTURE, names=NAMES, top_k=2, maps=True))
    close(found.json(), eclip.locate(file, NAMES, top_k=2, maps=True))
    found = client.post(
        '/classify', json=dict(image=f'data:image/png;base64,{PICTURE}', names=NAMES)
    )
    close(found.json(), eclip.classify(file, NAMES))
    found = client.post('/search', json=dict(text='red mug', k=3, where=['category=shoes']))
    vector = eclip.encode('red mug')['vector']
    close(found.json()['hits'], index.search(vector, 3, 'category=shoes')[0])


def test_a_search_takes_a_product_a_picture_or_both(client, eclip, index):
    found = client.post('/search', json=dict(like='p3', k=2)).json()['hits']
    assert found[0]['product_id'] == 'p3'
    found = client.post('/search', json=dict(image=PICTURE, text='red mug', per='row')).json()
    both = [np.array(r['vector']) for r in eclip.encode(['red mug', FILES[0]])]
    close(found['hits'], index.search(sum(both), per='row')[0])


def test_answers_do_not_depend_on_what_else_is_asked(start, eclip):
    client = start(batch=5, wait=0.05)
    rng = random.Random(0)
    bodies, wanted = [], []
    for number in range(24):
        file, names = rng.choice(FILES), rng.sample(NAMES, 2)
        if number % 3:
            bodies.append(
                ('/encode', dict(inputs=[dict(image=text_of(file)), dict(text=names[0])]))
            )
            wanted.append(dict(results=eclip.encode([file, names[0]])))
        else:
            bodies.append(('/locate', dict(image=text_of(file), names=names)))
            wanted.append(eclip.locate(file, names))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: client.post(body[0], json=body[1]).json(), bodies))
    close(found, wanted)
    batches = re.search(r'eclip_batch_inputs_count (\d+)', client.get('/metrics').text)[1]
    assert int(batches) < len(bodies), 'no requests shared a batch'


WIDE = text_of(save(Image.new('L', (300, 200)), 'PNG'))
TOO_MUCH = {
    'bytes': ('/encode', dict(inputs=[dict(text='x' * 2000)]), 413, 'at most 1500 bytes'),
    'pixels': ('/classify', dict(image=WIDE, names=NAMES), 413, '300 x 200 pixels, at most 4000'),
    'inputs': ('/encode', dict(inputs=4 * [dict(text='a')]), 422, 'at most 3 inputs, got 4'),
    'names': ('/locate', dict(image='', names=6 * ['a']), 422, 'at most 5 names, got 6'),
    'negatives': ('/locate', dict(image='', names=['a'], negatives=6 * ['a']), 422, 'at most 5'),
    'chars': ('/search', dict(text='x' * 51), 422, 'has 51 characters, at most 50'),
    'hits': ('/search', dict(text='x', k=21), 422, 'at most 20 hits'),
}


@pytest.mark.parametrize('kind', TOO_MUCH)
def test_limits(start, kind):
    path, body, status, words = TOO_MUCH[kind]
    client = start(num_bytes=1500, num_pixels=4000, inputs=3, names=5, chars=50, hits=20)
    answer = client.post(path, json=body)
    assert (answer.status_code, words in answer.json()['detail']) == (status, True), answer.text


def test_a_body_of_unknown_length_is_limited(start):
    client = start(num_bytes=1000)
    answer = client.post(
        '/encode', content=iter(20 * [b' ' * 100]), headers={'Content-Type': 'application/json'}
    )
    assert answer.status_code == 413


WRONG = {
    'address': ('/encode', dict(inputs=[dict(image='https://shop.example/a.jpg')]), 'not fetched'),
    'file address': ('/locate', dict(image='file:///etc/passwd', names=['a']), 'not fetched'),
    'no base64': ('/encode', dict(inputs=[dict(image='a.jpg')]), 'no base64'),
    'no inputs': ('/encode', dict(inputs=[]), 'inputs: '),
    'unknown key': ('/encode', dict(inputs=[dict(txt='a')]), 'inputs.0.txt: Extra inputs'),
    'blank name': ('/locate', dict(image=PICTURE, names=[' ']), 'names.0: '),
    'one negative': ('/locate', dict(image=PICTURE, names=['a'], negatives=['b']), 'at least two'),
    'no picture': ('/classify', dict(image=text_of(b'text'), names=['a']), 'cannot be decoded'),
    'column': ('/search', dict(text='a', where=['color=red']), "column 'color' is unknown"),
    'condition': ('/search', dict(text='a', where=['red']), 'write COLUMN=VALUE'),
    'both': ('/search', dict(text='a', like='p1'), 'or by like'),
    'nothing': ('/search', {}, 'or by like'),
}


@pytest.mark.parametrize('kind', WRONG)
def test_what_is_wrong_gets_a_sentence(client, kind):
    path, body, words = WRONG[kind]
    answer = client.post(path, json=body)
    assert (answer.status_code, words in answer.json()['detail']) == (422, True), answer.text


RAW = {
    b'{': 422,
    b'\xff': 400,
    b'[' * 100_000: 400,
    b'{"inputs": [{"text": "\\ud800"}]}': 422,
    b'{"inputs": [{"\\ud800": 1}]}': 422,
    b'{"inputs": ' + b'9' * 5000 + b'}': 400,
    b'{"inputs": NaN}': 422,
}


@pytest.mark.parametrize('number', range(len(RAW)))
def test_bodies_that_are_no_json(client, number):
    body, status = list(RAW.items())[number]
    answer = client.post('/encode', content=body, headers={'Content-Type': 'application/json'})
    assert answer.status_code == status and answer.json()['detail']
    assert client.post('/encode', content=body).status_code == 415


def test_a_broken_picture_leaves_the_other_inputs(client):
    inputs = [dict(image=text_of(b'broken')), dict(text='red mug')]
    found = client.post('/encode', json=dict(inputs=inputs)).json()['results']
    assert 'cannot be decoded' in found[0]['error'] and found[1]['kind'] == 'text'


def test_mutated_pictures_never_fail_the_service(client):
    rng = random.Random(0)
    for _ in range(30):
        mutants = [dict(image=text_of(mutate(rng.choice(FILES), rng))) for _ in range(4)]
        answer = client.post('/encode', json=dict(inputs=mutants))
        assert answer.status_code in (200, 413), answer.text
    assert client.get('/healthz').json()['status'] == 'ok'


def test_a_key_guards_all_but_the_health(start):
    client = start(key='s3cret')
    assert client.get('/healthz').status_code == 200
    body = dict(inputs=[dict(text='a')])
    for headers in ({}, {'Authorization': 'Bearer other'}, {'X-API-Key': 'söcret'.encode()}):
        assert client.post('/encode', json=body, headers=headers).status_code == 401
        assert client.get('/metrics', headers=headers).status_code == 401
    for headers in ({'Authorization': 'Bearer s3cret'}, {'X-API-Key': 's3cret'}):
        assert client.post('/encode', json=body, headers=headers).status_code == 200
    with pytest.raises(ValueError, match='key of the service is empty'):
        build_app(None, key=' ')


def test_metrics_count_answers_by_known_path(client):
    client.post('/encode', json=dict(inputs=[dict(text='a')]))
    client.get('/made/up')
    shown = client.get('/metrics').text
    assert 'eclip_requests_total{path="/encode",status="200"} 1.0' in shown
    assert 'eclip_requests_total{path="other",status="404"} 1.0' in shown
    assert 'made' not in shown
