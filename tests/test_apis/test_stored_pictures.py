"""Sheets show pictures as they are stored, where the network sees the whole of them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

from eclip_mm.apis import draw_score_maps
from eclip_mm.apis.retrieval import draw_retrieval
from eclip_mm.apis.stored_pictures import picture_or_input, picture_to_draw, stored_picture
from eclip_mm.datasets import ProductImageDataset
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import CharTokenizer, encode, make_rows, pipeline, write_rows
from helpers.runs import FakeProducts


def shelf(seed, width=60, height=30):
    """A photo with detail, so that a part of it differs from the whole."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 12, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def path(tmp_path):
    rows = make_rows(3)
    for i, row in enumerate(rows):
        row['images'] = [
            dict(bytes=encode(np.asarray(shelf(10 * i + j))), source='comment') for j in range(3)
        ]
    return write_rows(rows, tmp_path / 'shelves.parquet')


def steps(transform):
    load, _, *rest = pipeline(False, 32)
    return [load, transform, *rest]


def test_pictures_are_found_in_parts_and_subsets(path):
    dataset = ProductImageDataset(path, pipeline(False))
    whole = ConcatDataset([Subset(dataset, [8, 1]), dataset, FakeProducts(1)])
    for index, seed in ((0, 22), (1, 1), (2, 0), (10, 22)):
        assert np.array_equal(stored_picture(whole, index), shelf(seed))
        assert np.array_equal(picture_or_input(whole, index), shelf(seed))
    assert stored_picture(whole, 11) is None
    assert torch.equal(picture_or_input(whole, 11), whole[11]['inputs']['images'][0])


@pytest.mark.parametrize(
    ('transform', 'is_stored'),
    [
        (dict(type='Resize', size=32), True),
        (dict(type='Resize', size=(20, 40), interpolation='bilinear'), True),
        (dict(type='RandomResizedCrop', size=32, scale=(0.5, 0.5)), False),
        (dict(type='RandomResizedCrop', size=32, scale=(0.9, 0.9)), False),
    ],
)
def test_a_map_is_drawn_on_what_it_belongs_to(path, transform, is_stored):
    dataset = ProductImageDataset(path, steps(transform))
    for index in range(len(dataset)):
        seen = dataset[index]['inputs']['images'][0]
        drawn = picture_to_draw(dataset, index, seen)
        assert isinstance(drawn, Image.Image) == is_stored
        assert drawn.size == (60, 30) if is_stored else drawn is seen


def test_a_replaced_picture_is_drawn_as_the_network_sees_it(tmp_path):
    rows = make_rows(2)
    rows[0]['images'][0]['bytes'] = b'broken'
    dataset = ProductImageDataset(write_rows(rows, tmp_path / 'c.jsonl'), pipeline(False))
    seen = dataset[0]['inputs']['images'][0]
    assert stored_picture(dataset, 0) is None
    assert picture_to_draw(dataset, 0, seen) is seen


def test_both_sheets_show_stored_pictures(path, monkeypatch):
    torch.manual_seed(0)
    model = MODELS.build(tiny_model_config(embed_dims=16, num_blocks=1)).eval()
    dataset = ProductImageDataset(path, pipeline(False, 32))
    monkeypatch.setattr(CharTokenizer, '__call__', lambda *args, **kwargs: [2, 5, 3])
    sheets = {}
    for name in ('score_map_sheet', 'retrieval_sheet'):
        module = 'score_maps' if name == 'score_map_sheet' else 'retrieval'
        monkeypatch.setattr(
            f'eclip_mm.apis.{module}.{name}',
            lambda rows, *args, name=name, **kwargs: sheets.update({name: rows}),
        )
    draw_score_maps(model, dataset, [4])
    (item,) = sheets['score_map_sheet']
    assert item['image'].size == (60, 30) and item['img_shape'] == (32, 32)
    draw_retrieval(model, dataset, num_queries=1, num_results=2)
    (row,) = sheets['retrieval_sheet']
    assert np.array_equal(row['image'], shelf(0))
    assert [result['image'].size for result in row['results']] == [(60, 30)] * 2
