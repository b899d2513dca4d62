"""Figures by category and by source, by hand and against those of the subgroup alone."""

import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger

from eclip_mm.evaluation.functional import bootstrap_interval, subgroup_rows
from eclip_mm.registry import METRICS
from helpers.samples import LEFT, METRIC_CONFIGS, RIGHT, grounding_sample, run, sample


def test_rows_by_hand():
    rows = subgroup_rows([1, 0, 1, 1], [0.5, 0.1, 0.3, 0.2], ['b', 'a', 'b', None], ['c', 'b'])
    assert rows == [
        dict(value='c', count=0, mean=None, chance=None),
        dict(value='b', count=2, mean=1, chance=pytest.approx(0.4)),
        dict(value='a', count=1, mean=0, chance=0.1),
    ]
    assert subgroup_rows([1, 0], 0.25, ['a', 'a']) == [
        dict(value='a', count=2, mean=0.5, chance=0.25)
    ]
    assert subgroup_rows([], 0.25, [], []) == []


def test_intervals_are_those_of_the_subgroup():
    scores = np.random.default_rng(0).random(60)
    values = ['ab'[i % 3 > 0] for i in range(60)]
    rows = subgroup_rows(scores, 0, values, ['none'], num_bootstrap=200, seed=3)
    assert (rows[0]['low'], rows[0]['high']) == (None, None)
    own = scores[[v == 'b' for v in values]]
    assert (rows[2]['low'], rows[2]['high']) == bootstrap_interval(own, num_resamples=200, seed=3)


def make_samples():
    rng = np.random.default_rng(0)
    return [
        grounding_sample(
            rng.random((2, 2)),
            [LEFT],
            [LEFT, RIGHT],
            f'p{i % 5}',
            image=37 * i,
            text=53 * (i % 5),
            category=('x', 'y', None)[i % 5 % 3],
            source=('comment', 'video')[i % 2],
        )
        for i in range(20)
    ]


@pytest.mark.parametrize('config', METRIC_CONFIGS, ids=lambda c: '-'.join(c.values()))
def test_subgroups_add_up_to_the_whole(config):
    samples = make_samples()
    metric = METRICS.build(dict(config, subgroups=('category', 'source'), num_bootstrap=20))
    plain = METRICS.build(dict(config, num_bootstrap=20))
    figures = run([metric], samples)
    assert figures == run([plain], samples), 'the whole does not change'
    for name in [key for key in figures if f'{key}_chance' in figures]:
        for key in ('category', 'source'):
            rows = [
                row
                for row in metric.tables
                if row['by'] == key and f'{metric.prefix}/{row["figure"]}' == name
            ]
            if key == 'source' and 't2i' in name:
                assert rows == [], 'a text has no source'
                continue
            assert {row['value'] for row in rows} == (
                {'comment', 'video'}
                if key == 'source'
                else {'x', 'y'} | (set() if 'm5' in name else {'(none)'})
            )
            counts = [row['count'] for row in rows]
            for part, whole in (('mean', name), ('chance', f'{name}_chance')):
                mean = np.average([row[part] for row in rows], weights=counts)
                assert mean == pytest.approx(figures[whole])
            for row in rows:  # equal scores: apart by rounding
                assert row['low'] - 1e-9 <= row['mean'] <= row['high'] + 1e-9


def test_a_subgroup_searches_the_whole_gallery():
    samples = [
        sample('a', instance=0, source='comment'),
        sample('a', instance=20, source='video'),
        sample('b', instance=15, source='merchant'),
    ]
    metric = METRICS.build(dict(type='ProductRetrieval', topk=(1,), subgroups=['source']))
    run([metric], samples)
    # among comments alone there would be nothing to find; the second finds b first
    rows = [(r['value'], r['count'], r['mean']) for r in metric.tables if 'R@1' in r['figure']]
    assert rows == [('comment', 1, 0), ('video', 1, 0)], 'b asks nothing that can be answered'
    assert all(row['chance'] == 1 / 2 for row in metric.tables)


def test_the_log_has_a_table_for_pictures_and_one_for_texts():
    messages, logger = [], MMLogger.get_current_instance()
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    try:
        run(dict(type='ImageTextRetrieval', topk=(1,), subgroups=['category']), make_samples())
    finally:
        logger.removeHandler(handler)
    pictures, texts = (m.splitlines() for m in messages if 'by category' in m)
    assert pictures[0] == "ImageTextRetrieval (prefix 'image_text') by category:"
    assert pictures[1].split() == ['category', 'queries', 'i2t_R@1']
    assert pictures[3].split()[:2] == ['(none)', '4'] and texts[3].split()[:2] == ['(none)', '1']


def test_wrong_subgroups_fail_at_build():
    for subgroups in ('category', ['brand']):
        with pytest.raises(ValueError, match='subgroups is a list of'):
            METRICS.build(dict(type='ImageTextRetrieval', subgroups=subgroups))
