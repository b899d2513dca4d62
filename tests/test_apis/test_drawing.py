"""Content of the sheets: which pictures, in which order, with which boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import ConcatDataset

from eclip_mm.apis import (
    NothingToFind,
    draw_score_maps,
    predict_items,
    sheet_of_samples,
    split_datasets,
    spread_indices,
)
from eclip_mm.apis.tsne import choose_samples, draw_tsne
from eclip_mm.registry import DATASETS, MODELS, TASK_UTILS
from eclip_mm.structures import ProductDataSample
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import make_rows, write_rows
from helpers.runs import FakeProducts


@pytest.fixture(scope='module')
def model():
    init_default_scope('eclip_mm')
    torch.manual_seed(0)
    return MODELS.build(tiny_model_config(embed_dims=16, num_blocks=1)).eval()


def test_examples_are_spread_evenly():
    assert spread_indices(10, 3) == [0, 3, 6]
    assert spread_indices(2, 5) == [0, 1]
    # products with 3, 1, 4 and 2 pictures: the second has no pair
    rows = np.array([0, 0, 0, 1, 2, 2, 2, 2, 3, 3])
    dataset = SimpleNamespace(rows=rows, catalogue_path='c.parquet')
    assert choose_samples(dataset, 50, 100) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert choose_samples(dataset, 2, 2) == [0, 1, 4, 6]
    with pytest.raises(ValueError, match='c.parquet: 1 products have two pictures'):
        choose_samples(SimpleNamespace(rows=rows[:4], catalogue_path='c.parquet'))


def test_splits_by_name():
    photos, products = FakeProducts(2), FakeProducts(3)
    assert split_datasets(photos) == {'': photos}
    assert list(split_datasets(ConcatDataset([photos, products]))) == ['0', '1']
    photos.split, products.split = 'photos', 'products'
    assert split_datasets(ConcatDataset([photos, products])) == dict(
        photos=photos, products=products
    )
    assert split_datasets(photos) == dict(photos=photos)
    products.split = 'photos'  # one name for two
    assert list(split_datasets(ConcatDataset([photos, products]))) == ['0', '1']


def test_predictions_come_in_order_and_draw_nothing(model):
    dataset, state = FakeProducts(5), torch.get_rng_state()
    found = list(predict_items(model, dataset, [4, 0, 2], batch_size=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert [sample.product_id for _, sample in found] == ['p0-4', 'p0-0', 'p0-2']
    for index, (picture, sample) in zip([4, 0, 2], found, strict=True):
        assert torch.equal(picture, dataset[index]['inputs']['images'][0])
        ((_, alone),) = predict_items(model, dataset, [index])
        torch.testing.assert_close(sample.pred_instance_feat, alone.pred_instance_feat)


def test_boxes_come_from_a_proposer(model, monkeypatch):
    seen, sheets = [], []

    @TASK_UTILS.register_module(force=True)
    class QuarterProposer:
        def __call__(self, sample, image):
            seen.append((sample['product_id'], image.shape, image.dtype))
            return np.array([[0.0, 0, 16, 16]])

    monkeypatch.setattr(
        'eclip_mm.apis.score_maps.score_map_sheet', lambda items, **kwargs: sheets.append(items)
    )
    dataset = FakeProducts(3)
    draw_score_maps(model, dataset, [0, 2], candidates=dict(type='QuarterProposer'))
    draw_score_maps(model, dataset, [0, 2])
    assert seen == [(f'p0-{k}', (3, 32, 32), torch.uint8) for k in (0, 2)]
    proposed, objects = sheets
    assert proposed[0]['candidates'].tolist() == [[0, 0, 16, 16]]
    assert objects[0]['candidates'].tolist() == [[0, 0, 16, 16], [16, 16, 32, 32]]
    with pytest.raises(ValueError, match="'boxes'"):
        draw_score_maps(model, dataset, [0], candidates='boxes')


def sample(product_id, category, *feat):
    result = ProductDataSample(
        metainfo=dict(product_id=product_id, category=category, text=f'title of {product_id}')
    )
    result.pred_instance_feat = torch.tensor(feat)
    return result


# by angle: 0, 10, 20, 80 and 90 degrees
SAMPLES = [
    sample(product_id, category, np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    for product_id, category, angle in (
        ('milk', 'drink', 0),
        ('tea', 'drink', 10),
        ('milk', 'drink', 20),
        ('rice', None, 80),
        ('tea', 'drink', 90),
    )
]


@pytest.mark.parametrize(
    ('protocol', 'queries', 'right'),
    [
        # the others of each query by angle: 1 2 3 4; 0 2 3 4; 1 0 3 4; 3 2 1 0
        ('fine', [0, 1, 2, 4], ['0100', '0001', '0100', '0010']),
        ('m5', [0, 1, 2, 4], ['1101', '1101', '1101', '0111']),
    ],
)
def test_right_results_are_marked(monkeypatch, protocol, queries, right):
    sheets = []
    monkeypatch.setattr(
        'eclip_mm.apis.retrieval.retrieval_sheet',
        lambda rows, *args, **kwargs: sheets.append(rows),
    )
    sheet_of_samples(SAMPLES, lambda index: index, num_queries=9, protocol=protocol)
    (rows,) = sheets
    assert [row['image'] for row in rows] == queries, 'rice has nothing to find'
    assert all(row['image'] not in [r['image'] for r in row['results']] for row in rows)
    found = [''.join(str(int(r['right'])) for r in row['results']) for row in rows]
    assert found == right
    assert rows[0]['prompt'] == 'title of milk'


def test_nothing_to_find_is_an_error():
    with pytest.raises(NothingToFind, match='none of 2 pictures .* same product_id'):
        sheet_of_samples(SAMPLES[:2], lambda index: index)
    with pytest.raises(ValueError, match="unknown protocol 'coarse'"):
        sheet_of_samples(SAMPLES, lambda index: index, protocol='coarse')


def test_all_panels_show_the_same_pictures(model, tmp_path):
    first, second = FakeProducts(8), FakeProducts(8)
    for dataset in (first, second):
        dataset.rows = np.repeat(np.arange(4), 2)
        for k, item in enumerate(dataset.items):
            item['data_samples'].set_metainfo(dict(product_id=f'p{k // 2}'))
    figures = draw_tsne(dict(a=(model, first), b=(model, second)), tmp_path / 'tsne.png')
    assert figures['a'] == figures['b'] and set(figures) == {'a', 'b'}
    assert figures['a']['nearest_chance'] == pytest.approx(1 / 7)
    assert (tmp_path / 'tsne.png').is_file()
    second.items.reverse()
    with pytest.raises(ValueError, match='b: its pictures are not those of a'):
        draw_tsne(dict(a=(model, first), b=(model, second)), tmp_path / 'tsne.png')


def test_splits_of_a_test_set_have_the_names_of_the_config(tmp_path):
    path = write_rows(make_rows(2), tmp_path / 'c.jsonl')
    parts = [
        dict(type='ProductImageDataset', catalogue=str(path), pipeline=[], split=split)
        for split in ('photos', 'products')
    ]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    assert list(split_datasets(dataset)) == ['photos', 'products']
