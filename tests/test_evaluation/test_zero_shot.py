"""Zero-shot classification: class lists, prompts, and missing classes."""

import json
from pathlib import Path

import pytest
import torch

from eclip_mm.registry import METRICS
from helpers.samples import run, sample, unit


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / 'shop.jsonl'
    rows = [
        ('p1', 'red milk', 'dairy'),
        ('p2', 'blue milk', 'dairy'),
        ('p3', 'apple', 'fruit'),
        ('p4', 'red milk', None),
    ]
    path.write_text(
        ''.join(
            json.dumps(
                dict(
                    product_id=p,
                    text=t,
                    category=c,
                    images=[dict(path='nowhere.jpg', source='merchant')],
                )
            )
            + '\n'
            for p, t, c in rows
        )
    )
    return str(path)


def test_from_the_samples_own_texts():
    samples = [
        sample('a', 0, 10, category='x'),
        sample('a', 60, 10, category='x'),
        sample('b', 80, 90, category='y'),
        sample('c', 200, 180, category='y'),
    ]
    metric = METRICS.build(dict(type='ZeroShotClassification', topk=(1, 2), prefix='z'))
    figures = run([metric], samples)
    assert figures == pytest.approx(
        {
            'z/product_num_samples': 4,
            'z/product_num_classes': 3,
            'z/product_num_without_prompt': 0,
            # the second photo of a (60) is nearer to the text of b (90) than to its own (10)
            'z/product_top1': 0.75,
            'z/product_top1_chance': 1 / 3,
            'z/product_top2': 1,
            'z/product_top2_chance': 2 / 3,
        }
    )
    assert metric.tables == [
        dict(by='category', figure=f'product_top{k}', value=v, count=2, mean=m, chance=k / 3)
        for k, means in ((1, (0.5, 1)), (2, (1, 1)))
        for v, m in zip('xy', means, strict=True)
    ]


def test_products_of_a_catalogue(catalogue, warnings):
    metric = METRICS.build(
        dict(
            type='ZeroShotClassification',
            catalogue=catalogue,
            topk=(1, 2),
            prefix='z',
            templates=('{}', 'a photo of {}.'),
        )
    )
    # p4 has the text of p1: one class, both products
    assert metric.class_prompts == {
        'p1': ['red milk', 'a photo of red milk.'],
        'p2': ['blue milk', 'a photo of blue milk.'],
        'p3': ['apple', 'a photo of apple.'],
    }
    metric.set_class_feats(['p3', 'p2', 'p1'], [unit(170, 190), unit(80, 100), unit(-10, 10)])
    samples = [sample('p1', 5), sample('p4', 10), sample('p2', 20), sample('p9', 90)]
    figures = run([metric], samples)
    # p2 is taken for p1; p9 is not in the catalogue; p3 has no photo but competes
    assert figures == {
        'z/product_num_samples': 4,
        'z/product_num_classes': 3,
        'z/product_num_without_prompt': 1,
        'z/product_top1': 0.5,
        'z/product_top1_chance': pytest.approx(3 / 4 * 1 / 3),  # nobody guesses p9
        'z/product_top2': 0.75,
        'z/product_top2_chance': pytest.approx(3 / 4 * 2 / 3),
    }
    assert any(
        "1 of 4 samples have a product without prompt (the first is 'p9')" in m for m in warnings
    )


def test_class_features_are_used_once(catalogue):
    metric = METRICS.build(dict(type='ZeroShotClassification', catalogue=catalogue))
    metric.set_class_feats(list(metric.class_prompts), unit(0, 90, 180))
    assert run([metric], [sample('p1', 5)])['zero_shot/product_top1'] == 1
    with pytest.raises(RuntimeError, match='set_class_feats'):
        run([metric], [sample('p1', 5)])


def test_categories_of_a_catalogue(catalogue):
    metric = METRICS.build(
        dict(
            type='ZeroShotClassification',
            catalogue=catalogue,
            target='category',
            topk=(1,),
            feature='pred_instance_feat',
            templates=['some {}'],
        )
    )
    assert metric.class_prompts == {'dairy': ['some dairy'], 'fruit': ['some fruit']}
    metric.set_class_feats(['dairy', 'fruit'], unit(0, 90))
    figures = run(
        [metric],
        [
            sample('p1', 90, instance=10, category='dairy'),
            sample('p2', 0, instance=80, category='dairy'),
            sample('p4', 0, category=None),
        ],
    )
    assert figures['zero_shot/category_top1'] == pytest.approx(1 / 3)
    assert figures['zero_shot/category_top1_chance'] == pytest.approx(2 / 3 * 1 / 2)
    assert figures['zero_shot/category_num_without_prompt'] == 1
    assert [(row['value'], row['count'], row['mean']) for row in metric.tables] == [
        ('dairy', 2, 0.5),
        ('fruit', 0, None),  # no photo: no figure
        ('(none)', 1, 0),
    ]


def test_a_catalogue_without_categories_is_counted(catalogue, warnings):
    path = Path(catalogue)
    rows = [dict(json.loads(line), category=None) for line in path.read_text().splitlines()]
    path.write_text('\n'.join(map(json.dumps, rows)))
    metric = dict(type='ZeroShotClassification', catalogue=catalogue, target='category')
    figures = run(dict(metric, prefix='x'), [sample('p1'), sample('p2')])
    assert figures == {
        'x/category_num_samples': 2,
        'x/category_num_classes': 0,
        'x/category_num_without_prompt': 2,
    }
    assert any('no product of the catalogue has a category' in message for message in warnings)


@pytest.mark.parametrize(
    'names, feats, words',
    [
        (['p1', 'p2'], unit(0, 1), "missing \\['p3'\\]"),
        (['p1', 'p2', 'p3', 'p4'], unit(0, 1, 2, 3), "unknown \\['p4'\\]"),
        (['p1', 'p2', 'p3'], unit(0, 1), '3 names and 2 features'),
        (['p1', 'p2', 'p3'], torch.full((3, 2), float('nan')), 'not finite'),
    ],
)
def test_class_features_that_do_not_fit(catalogue, names, feats, words):
    metric = METRICS.build(dict(type='ZeroShotClassification', catalogue=catalogue))
    with pytest.raises(ValueError, match=words):
        metric.set_class_feats(names, feats)


@pytest.mark.parametrize(
    'config, words',
    [
        (dict(target='brand'), "'product' or 'category'"),
        (dict(target='category'), 'needs catalogue'),
        (dict(feature='pred_instance_feat'), 'prompted with the answer'),
        (dict(templates='{}'), 'templates is a list'),
        (dict(templates=['a photo']), 'templates is a list'),
    ],
)
def test_a_wrong_config_fails_at_build(config, words):
    with pytest.raises(ValueError, match=words):
        METRICS.build(dict(type='ZeroShotClassification', **config))
