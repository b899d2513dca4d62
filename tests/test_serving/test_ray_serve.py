"""The deployment of Ray Serve, on a cluster of this machine; its answers are those of the model.

Ray Serve is in no extra: pip install 'ray[serve]>=2.60'.
"""

import json
import socket
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from eclip_mm.apis import Eclip
from eclip_mm.index import VectorIndex
from helpers.feature_folders import write_features
from helpers.results import assert_same
from test_apis.conftest import write_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Starts the deployment with a key; sends requests to it."""
    serve = pytest.importorskip('ray.serve', reason="needs Ray Serve: pip install 'ray[serve]'")
    import ray

    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    monkeypatch.setenv('ECLIP_MM_API_KEY', 's3cret')
    from eclip_mm.serving.ray_service import application

    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    ray.init(
        'local',
        num_cpus=2,
        object_store_memory=10**8,
        include_dashboard=False,
        log_to_driver=False,
    )
    arguments = dict(model=str(tmp_path / 'epoch_6.pth'), index=str(tmp_path / 'index'))

    def send(path: str, body: dict | None = None, key: str = 's3cret'):
        headers = {'Content-Type': 'application/json', 'X-API-Key': key}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(
            Request(f'http://127.0.0.1:{port}{path}', data, headers), timeout=60
        ) as found:
            return json.loads(found.read())

    try:
        serve.start(http_options=dict(host='127.0.0.1', port=port))
        eclip = Eclip(write_checkpoint(tmp_path), device='cpu')
        write_features(tmp_path / 'feats', ['p0', 'p1'], weights=eclip.checkpoint['sha256'])
        index = VectorIndex.build(tmp_path / 'index', tmp_path / 'feats')
        serve.run(application(arguments))
        yield send, eclip, index
    finally:
        serve.shutdown()
        ray.shutdown()


def test_answers_are_those_of_the_model_and_the_index(ask):
    send, eclip, index = ask
    assert send('/healthz')['index_rows'] == len(index)
    found = send('/encode', dict(inputs=[dict(text='red mug'), dict(image='')]))['results']
    assert_same(found[0], eclip.encode('red mug'))
    assert 'error' in found[1]
    hits = send('/search', dict(text='red mug', k=2))['hits']
    assert_same(hits, index.search(eclip.encode('red mug')['vector'], 2)[0])
    for body, key, status in ((dict(inputs=[]), 's3cret', 422), (dict(text='a'), 'other', 401)):
        with pytest.raises(HTTPError) as refused:
            send('/encode', body, key)
        assert refused.value.code == status
