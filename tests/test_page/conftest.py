"""A page on some of the sample photos, with a tiny random model."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

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
