"""A service that is busy: full queue, slow model, clients that go away, the end."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from eclip_mm.serving import Limits, MicroBatcher, build_app
from helpers.processes import wait_until

BODY = dict(inputs=[dict(text='red mug')])


class SlowModel:
    """Answers when ``go`` is set; keeps the batches that it was given."""

    checkpoint = dict(name='slow', sha256='a' * 64)

    def __init__(self):
        self.go, self.batches = threading.Event(), []

    def stream(self, inputs, task, batch_size, **options):
        self.batches.append([value['text'] for value in inputs])
        assert self.go.wait(30)
        if inputs[0]['text'] == 'fail':
            raise RuntimeError('out of memory')
        yield from (dict(kind='text', vector=[1.0]) for _ in inputs)


@pytest.fixture
def model():
    found = SlowModel()
    yield found
    found.go.set()


def begin(model, **limits) -> TestClient:
    return TestClient(
        build_app(model, None, Limits(wait=0, **limits)), raise_server_exceptions=False
    )


def test_a_full_queue_refuses_and_recovers(model):
    with begin(model, requests=3) as client, ThreadPoolExecutor(3) as pool:
        first = [pool.submit(client.post, '/encode', json=BODY) for _ in range(3)]
        wait_until(lambda: 'running 3.0' in client.get('/metrics').text)
        refused = client.post('/encode', json=BODY)
        assert (refused.status_code, refused.headers['Retry-After']) == (429, '1')
        assert client.get('/healthz').status_code == 200
        model.go.set()
        assert [answer.result().status_code for answer in first] == [200, 200, 200]
        assert client.post('/encode', json=BODY).status_code == 200


def test_a_slow_model_is_not_waited_for(model):
    with begin(model, seconds=0.1) as client:
        answer = client.post('/encode', json=BODY)
        assert (answer.status_code, answer.headers['Retry-After']) == (503, '1')
        assert 'within 0.1 s' in answer.json()['detail']
        model.go.set()


def test_a_failure_is_an_answer_and_the_next_request_is_served(model):
    model.go.set()
    with begin(model) as client:
        failed = client.post('/encode', json=dict(inputs=[dict(text='fail')]))
        assert (failed.status_code, 'memory' in failed.text) == (500, False)
        assert client.post('/encode', json=BODY).status_code == 200


def request_of(text: str) -> tuple[dict, bytes]:
    """The ASGI scope and the body of a request to encode a text."""
    scope = dict(
        type='http', method='POST', path='/encode', raw_path=b'/encode', query_string=b'',
        headers=[(b'content-type', b'application/json')], root_path='', scheme='http',
        http_version='1.1', server=('t', 80), client=('t', 1),
    )  # fmt: skip
    return scope, json.dumps(dict(inputs=[dict(text=text)])).encode()


def test_a_client_that_goes_away_costs_nothing_more(model):
    app = build_app(model, None, Limits(wait=0, batch=1))

    async def ask(text, leaves):
        scope, body = request_of(text)
        messages = [dict(type='http.request', body=body, more_body=False)]
        sent = []

        async def receive():
            if messages:
                return messages.pop()
            await leaves.wait()
            return dict(type='http.disconnect')

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent

    async def run():
        left, stays = asyncio.Event(), asyncio.Event()
        one = asyncio.ensure_future(ask('one', stays))
        while not model.batches:
            await asyncio.sleep(0.01)
        two = asyncio.ensure_future(ask('two', left))
        await asyncio.sleep(0.05)
        left.set()
        assert await asyncio.wait_for(two, 5) == []
        three = asyncio.ensure_future(ask('three', stays))
        await asyncio.sleep(0.05)
        model.go.set()
        for request in (one, three):
            assert (await asyncio.wait_for(request, 5))[0]['status'] == 200

    with TestClient(app):  # starts the model's thread
        asyncio.run(run())
    assert model.batches == [['one'], ['three']]


def test_batches_hold_one_key_up_to_their_size_and_in_order():
    seen, go = [], threading.Event()

    def run(key, inputs):
        assert go.wait(30)
        seen.append((key, inputs))
        return [value * 10 for value in inputs]

    batcher = MicroBatcher(run, size=3, wait=0)
    batcher.start()

    async def submit():
        jobs = [('a', [0]), ('b', [1]), ('a', [2]), ('a', [3, 4, 5, 6]), ('b', [7]), ('a', [8, 9])]
        tasks = []
        for job in jobs:
            tasks.append(asyncio.ensure_future(batcher.submit(*job)))
            await asyncio.sleep(0.02)
        go.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(submit()) == [[0], [10], [20], [30, 40, 50, 60], [70], [80, 90]]
    assert seen == [
        ('a', [0]), ('b', [1, 7]), ('a', [2, 8, 9]), ('a', [3, 4, 5, 6])
    ]  # fmt: skip
    batcher.close()
    assert not batcher.is_alive
    with pytest.raises(RuntimeError, match='closed'):
        asyncio.run(batcher.submit('a', [1]))


def test_jobs_that_wait_are_finished_at_the_end():
    go = threading.Event()

    def run(key, inputs):
        assert go.wait(30)
        return inputs

    batcher = MicroBatcher(run, size=1, wait=0)
    batcher.start()

    async def submit():
        jobs = [asyncio.ensure_future(batcher.submit('a', [k])) for k in range(3)]
        await asyncio.sleep(0.02)
        closing = asyncio.ensure_future(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.02)
        go.set()
        await closing
        return await asyncio.gather(*jobs)

    assert asyncio.run(submit()) == [[0], [1], [2]]


def test_a_batch_waits_only_for_requests_that_are_under_way():
    """By the order of events: a wait that nobody ended would last an hour."""
    seen = []

    def run(key, inputs):
        seen.append(inputs)
        return inputs

    batcher = MicroBatcher(run, size=8, wait=3600)
    batcher.start()

    async def submit():
        batcher.expect(1)
        assert await asyncio.wait_for(batcher.submit('a', [0]), 30) == [0]
        batcher.expect(3)
        jobs = [asyncio.ensure_future(batcher.submit('a', [k])) for k in (1, 2)]
        await asyncio.sleep(0.05)
        assert seen == [[0]]
        batcher.expect(2)  # the third was refused
        assert await asyncio.wait_for(asyncio.gather(*jobs), 30) == [[1], [2]]
        batcher.expect(4)
        jobs = [asyncio.ensure_future(batcher.submit('b', [k] * 4)) for k in (3, 4)]
        await asyncio.wait_for(asyncio.gather(*jobs), 30)  # the batch is full

    asyncio.run(submit())
    assert seen == [[0], [1, 2], [3] * 4 + [4] * 4]
    batcher.close()


def test_the_service_tells_how_many_are_under_way(model):
    model.go.set()
    app = build_app(model, None, Limits(wait=3600))
    with TestClient(app) as client, ThreadPoolExecutor(4) as pool:
        assert client.post('/encode', json=BODY).status_code == 200
        bodies = [BODY, {}, BODY, dict(BODY, more=1)] * 4
        answers = pool.map(lambda body: client.post('/encode', json=body), bodies)
        assert [answer.status_code for answer in answers] == [200, 422, 200, 422] * 4


def test_the_batch_fits_the_device():
    assert [Limits.of_device(device).batch for device in ('cpu', 'cuda:1')] == [16, 32]
    assert Limits.of_device('cpu', batch=4, hits=7) == Limits(batch=4, hits=7)
