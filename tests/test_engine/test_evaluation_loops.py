"""The loops of validation and test, in whole runs."""

import json

import pytest
from mmengine.evaluator import Evaluator

from eclip_mm.engine.evaluation_loops import _as_product_evaluator
from eclip_mm.evaluation import ProductEvaluator
from helpers.runs import BATCH, make_runner


@pytest.mark.parametrize('form', ['list', 'single', 'evaluator', 'own'])
def test_loops_take_every_form_of_an_evaluator(form):
    metric = dict(type='ProductRetrieval')
    given = dict(
        list=[metric],
        single=metric,
        evaluator=dict(type='Evaluator', metrics=[metric]),
        own=Evaluator([]),
    )[form]
    if form in ('list', 'single'):
        assert isinstance(_as_product_evaluator(given), ProductEvaluator)
    else:
        assert _as_product_evaluator(given) is given


@pytest.mark.parametrize('kind', ['val', 'test'])
def test_the_loops_share_and_write(tmp_path, kind):
    loader = dict(
        batch_size=BATCH,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='collate_products'),
        dataset=dict(type='FakeProducts'),
    )
    metrics = [
        dict(type='ProductRetrieval', protocol='m5', topk=[1], subgroups=['category'], prefix='p'),
        dict(type='ImageTextRetrieval', prefix='p'),
    ]
    runner = make_runner(
        tmp_path,
        **{
            f'{kind}_dataloader': loader,
            f'{kind}_evaluator': metrics,
            f'{kind}_cfg': dict(type=f'Product{kind.title()}Loop'),
        },
    )
    figures = getattr(runner, kind)()
    loop = getattr(runner, f'{kind}_loop')
    assert type(loop.evaluator).__name__ == 'ProductEvaluator'
    assert figures['p/i2t_num_images'] == 16
    written = json.loads((tmp_path / f'subgroups_{kind}.json').read_text())
    assert written['iter'] == 0
    rows = [row for row in written['rows'] if row['figure'] == 'p/m5_P@1']
    assert sum(row['count'] for row in rows) == figures['p/m5_num_queries'] > 0
    assert {row['figure'] for row in written['rows']} == {'p/m5_P@1', 'p/m5_mAP@1'}
