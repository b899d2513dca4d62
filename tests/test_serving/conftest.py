"""A service of a tiny model with an index, in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from eclip_mm.apis import Eclip
from eclip_mm.index import VectorIndex
from eclip_mm.serving import Limits, build_app
from helpers.feature_folders import write_features
from test_apis.conftest import write_checkpoint


@pytest.fixture(scope='package')
def eclip(tmp_path_factory) -> Eclip:
    return Eclip(write_checkpoint(tmp_path_factory.mktemp('model')), device='cpu')


@pytest.fixture(scope='package')
def index(eclip, tmp_path_factory) -> VectorIndex:
    folder = tmp_path_factory.mktemp('index')
    products = [f'p{number}' for number in range(12)]
    write_features(folder / 'feats', products, weights=eclip.checkpoint['sha256'])
    return VectorIndex.build(folder / 'index', folder / 'feats')


@pytest.fixture
def start(eclip, index) -> Iterator[Callable[..., TestClient]]:
    """Starts a service with some limits; all of them end with the test."""
    with ExitStack() as stack:

        def begin(key: str | None = None, model=eclip, **limits) -> TestClient:
            app = build_app(model, index, Limits(**limits), key)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield begin


@pytest.fixture
def client(start) -> TestClient:
    return start()
