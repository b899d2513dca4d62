"""A page on some of the sample photos, with a tiny random model."""

import sys
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

import eclip_mm.apis
from eclip_mm.apis import Eclip
from eclip_mm.index import VectorIndex
from eclip_mm.page import CatalogueSearch, ShownProducts
from helpers.feature_folders import write_features_of
from test_apis.conftest import write_checkpoint

PHOTOS = Path(__file__).parents[2] / 'sample_photos/grocery/train.parquet'
NUM_PRODUCTS = 16


@pytest.fixture(scope='package')
def search(tmp_path_factory) -> CatalogueSearch:
    folder = tmp_path_factory.mktemp('page')
    eclip = Eclip(write_checkpoint(folder), device='cpu')
    write_features_of(eclip, PHOTOS, NUM_PRODUCTS, folder / 'features')
    index = VectorIndex.build(folder / 'index', folder / 'features')
    return CatalogueSearch(index, eclip, ShownProducts.of_index(index))


@pytest.fixture(scope='package')
def products() -> list[dict]:
    """The rows of the products that can be found."""
    return pq.read_table(PHOTOS).to_pylist()[:NUM_PRODUCTS]


@pytest.fixture
def page(monkeypatch) -> list:
    """Takes the place of the module that needs Gradio, and notes what it should serve."""
    served = []
    module = ModuleType('eclip_mm.page.blocks')
    module.build_blocks = lambda *args: args
    module.launch = lambda blocks, host, port: served.append((*blocks, host, port))
    monkeypatch.setitem(sys.modules, 'eclip_mm.page.blocks', module)
    monkeypatch.setattr('eclip_mm.cli.page.version', lambda name: '6.31.0')
    return served


@pytest.fixture
def model(search, monkeypatch) -> str:
    """A source of the model of the index, which need not be loaded again."""
    monkeypatch.setattr('eclip_mm.page.catalogue_search.Eclip', lambda *_, **__: search.eclip)
    monkeypatch.setattr(eclip_mm.apis, 'Eclip', lambda source: search.eclip)
    return 'model'
