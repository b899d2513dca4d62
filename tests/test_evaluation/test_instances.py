"""The product1m protocol: by hand, against a literal implementation, and over all rankings."""

import itertools

import numpy as np
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score

from eclip_mm.evaluation.functional import (
    average_precision_at_k,
    average_precision_chance,
    average_recall_at_n,
    average_recall_chance,
    flatten_labels,
    instance_relevance,
)
from eclip_mm.registry import METRICS
from helpers.samples import run, sample


def ours(ranked, asks, gallery, k):
    """AP@k and AR@k of queries that rank one gallery; label codes throughout."""
    labels = flatten_labels(asks)
    available = np.bincount(gallery, minlength=99)[labels.label]
    listed = np.bincount(labels.query, available * labels.times).astype(int)
    return (
        average_precision_at_k(instance_relevance(ranked, labels), listed, k, 'product1m'),
        average_recall_at_n(ranked, labels, available, k),
    )


def slow(ranked, asks, gallery, k):
    """PROTOCOLS.md, implemented literally for one query."""
    listed = [item for label in asks for item in gallery if item == label]
    hits, total = 0, 0.0
    for i in range(min(k, len(listed), len(ranked))):
        if ranked[i] in asks:
            hits += 1
            total += hits / (i + 1)
    recalls = []
    for label in sorted(set(asks)):
        expected = sum(k // len(asks) for other in asks if other == label)
        expected = min(expected, gallery.count(label))
        if expected:
            recalls.append(min(ranked[:k].count(label), expected) / expected)
    return total / hits if hits else 0, np.mean(recalls) if recalls else 0


def test_by_hand():
    # the gallery has a = 0 three times, b = 1 once, c = 2 twice
    gallery = [0, 0, 0, 1, 2, 2]
    ranked = [[0, 2, 1, 0, 2, 0]] * 4
    asks = [[0], [0, 1], [0, 0, 1], [0, 7]]
    precision, recall = ours(ranked, asks, gallery, 4)
    np.testing.assert_allclose(
        precision,
        [
            1,  # |P| = 3 ranks: a . . -> the hit at 1
            (1 + 2 / 3 + 3 / 4) / 3,  # |P| = 4: a . b a
            (1 + 2 / 3 + 3 / 4) / 3,  # |P| = 3 + 3 + 1 = 7, of which K allows 4
            1,  # the label 7 has no list
        ],
    )
    np.testing.assert_allclose(
        recall,
        [
            2 / 3,  # e = min(4, 3); two of them in the top 4
            (2 / 2 + 1 / 1) / 2,  # e_a = 4 // 2, e_b = min(2, 1)
            (2 / 2 + 1 / 1) / 2,  # e_a = 2 * (4 // 3), e_b = 4 // 3
            2 / 2,  # e_a = 2; nothing is expected of 7
        ],
    )


def test_a_duplicate_label_doubles_what_is_expected_and_the_depth():
    gallery = [0, 0, 0, 1]
    ranked = [[1, 0, 0, 0]] * 2
    precision, recall = ours(ranked, [[0, 1], [0, 0, 1]], gallery, 3)
    # e_a is 3 // 2 and 2 * (3 // 3); both find two a among three
    assert recall.tolist() == [1, 1]
    precision, recall = ours([[1, 0, 1, 0]] * 2, [[0, 1], [0, 0, 1]], [0, 0, 1, 1], 3)
    assert recall.tolist() == [1, (1 / 2 + 1) / 2]
    # the depth is min(K, |P|): one a in the gallery, asked for twice, gives depth 2
    assert ours([[1, 0]], [[0]], [0, 1], 2)[0] == 0
    assert ours([[1, 0]], [[0, 0]], [0, 1], 2)[0] == 1 / 2


def test_nothing_is_expected():
    gallery = [0, 1, 1]
    # three labels have two ranks: floor(2 / 3) = 0 for each
    assert ours([[0, 1, 1]], [[0, 1, 1]], gallery, 2)[1] == 0
    assert ours([[0, 1, 1]], [[5]], gallery, 2) == (0, 0)
    with pytest.raises(ValueError, match='at least 1'):
        average_recall_at_n([[0]], flatten_labels([[0]]), [1], 0)


def test_flatten_by_hand():
    labels = flatten_labels([[4, 2, 4], [0]])
    assert labels.query.tolist() == [0, 0, 1] and labels.label.tolist() == [2, 4, 0]
    assert labels.times.tolist() == [1, 2, 1]
    assert len(flatten_labels([]).query) == 0
    with pytest.raises(ValueError, match='query 1 has no label'):
        flatten_labels([[1], []])


def test_equals_the_literal_implementation_on_random_cases():
    rng = np.random.default_rng(0)
    for _ in range(60):
        gallery = rng.integers(0, 6, rng.integers(1, 15)).tolist()
        asks = [rng.integers(0, 7, rng.integers(1, 6)).tolist() for _ in range(5)]
        ranked = [rng.permutation(gallery).tolist() for _ in asks]
        for k in (1, 3, 4, 10, 50):
            precision, recall = ours(ranked, asks, gallery, k)
            expected = [slow(r, a, gallery, k) for r, a in zip(ranked, asks, strict=True)]
            np.testing.assert_allclose(np.stack([precision, recall], 1), expected)


def test_average_precision_equals_sklearn_on_the_ranks_it_looks_at():
    rng = np.random.default_rng(1)
    for _ in range(50):
        gallery, asks = rng.integers(0, 5, 30), rng.integers(0, 5, rng.integers(1, 4))
        depth = min(10, sum((gallery == label).sum() for label in asks))
        relevant = np.isin(gallery, asks)[:depth]
        if relevant.any():
            expected = average_precision_score(relevant, -np.arange(depth))
            assert ours(gallery[None], [asks.tolist()], gallery, 10)[0] == pytest.approx(expected)


@pytest.mark.parametrize('asks', [[0], [0, 1], [0, 0], [0, 0, 1], [2, 2, 2], [7, 1], [7]])
def test_chance_equals_the_mean_over_all_rankings(asks):
    gallery = [0, 0, 1, 2, 3, 3]
    rankings = np.array(sorted(set(itertools.permutations(gallery))))
    labels, everybody = flatten_labels([asks]), [asks] * len(rankings)
    available = np.bincount(gallery, minlength=99)[labels.label]
    for k in (1, 2, 3, 4, 10):
        precision, recall = (x.mean() for x in ours(rankings, everybody, gallery, k))
        assert average_recall_chance(labels, available, [6], k) == pytest.approx(recall), k
        listed = (available * labels.times).sum()
        chance = average_precision_chance(available.sum(), 6, k, 'product1m', listed)
        assert chance == pytest.approx(precision), k


def test_recall_chance_of_a_large_gallery_equals_scipy():
    labels = flatten_labels([[0, 1, 1]])
    hits = np.arange(51)
    expected = [
        (np.minimum(hits, e) * hypergeom.pmf(hits, 100_000, own, 50)).sum() / e
        for e, own in ((16, 40_000), (32, 900))
    ]
    chance = average_recall_chance(labels, [40_000, 900], [100_000], 50)
    assert chance == pytest.approx(np.mean(expected), rel=1e-6)


def frame(product_id, angle, boxes, **kwargs):
    element = sample(product_id, instance=angle, split='frames', **kwargs)
    if boxes is not None:
        element.set_metainfo(dict(object_product_ids=tuple(boxes)))
    return element


def crops(*pairs):
    return [sample(name, instance=angle, split='crops') for name, angle in pairs]


def test_the_metric_by_hand():
    samples = [
        *crops(('a', 0), ('b', 20), ('a', 40), ('c', 60)),
        frame('a', 1, ['a', 'b', 'b']),  # finds a b a c
        frame('b', 61, None),  # no annotation: asks for b; finds c a b a
        frame('a', 29, ['x', 'a']),  # x is nowhere; finds b a
        frame('x', 0, ['x', 'x']),  # cannot be answered
    ]
    config = dict(
        type='ProductRetrieval',
        protocol='product1m',
        topk=(2,),
        query_split='frames',
        gallery_split='crops',
        prefix='p',
    )
    figures = run(config, samples)
    expected = {
        'num_queries': 3,
        'num_unmatched': 1,
        'num_gallery': 4,
        'num_unannotated': 1,
        'num_duplicated': 2,
        'num_lost_labels': 3,
        'num_crowded@2': 1,
        # a b: 1; b has depth min(2, |P| = 1): 0; b a: 1 / 2
        'mAP@2': (1 + 0 + 1 / 2) / 3,
        # three labels, two ranks: 0; e_b = 1, not among c a; e_a = 1, found
        'mAR@2': (0 + 0 + 1) / 3,
        'mAP@2_chance': average_precision_chance([3, 1, 2], 4, 2, 'product1m', [4, 1, 2]).mean(),
        # b among 2 of 4; at least one of two a among 2 of 4
        'mAR@2_chance': (0 + 1 / 2 + 5 / 6) / 3,
    }
    assert figures == pytest.approx({f'p/product1m_{k}': v for k, v in expected.items()})


def test_a_query_in_the_gallery_is_dropped():
    samples = [frame('a', 0, ['a', 'b']), frame('b', 10, ['b']), frame('a', 90, ['a'])]
    figures = run(dict(type='ProductRetrieval', protocol='product1m', topk=(2,)), samples)
    # the second photo is the gallery's only b: its query has nothing to find
    assert figures['product/product1m_num_unmatched'] == 1
    # first: b a, depth 2; third: |P| = 1, b first
    assert figures['product/product1m_mAP@2'] == (1 + 0) / 2
    assert figures['product/product1m_mAR@2'] == 1


def test_a_query_that_is_a_picture_of_the_gallery_is_dropped():
    """Queries that are cut out of the searched catalogue would find themselves first."""
    gallery = [sample('a', instance=0, split='g'), sample('b', instance=50, split='g')]
    gallery.append(sample('a', instance=70, split='g'))
    gallery[2].set_metainfo(dict(image_ids=('a#1',)))
    query = frame('a#0', 0, ['a', 'b'])  # the gallery's first picture
    other = frame('z#0', 0, ['a', 'b'])
    config = dict(
        type='ProductRetrieval',
        protocol='product1m',
        topk=(1, 2),
        query_split='frames',
        gallery_split='g',
        prefix='p',
    )
    figures = run(config, [*gallery, query])
    # left are b and the other a
    assert figures['p/product1m_mAR@2'] == 1 and figures['p/product1m_mAR@2_chance'] == 1
    figures = run(config, [*gallery, other])
    assert figures['p/product1m_mAR@2_chance'] == pytest.approx((1 + 2 / 3) / 2)


def test_defaults_and_config_errors():
    metric = METRICS.build(dict(type='ProductRetrieval', protocol='product1m'))
    assert metric.topk == (10, 50)
    for change in (dict(query_split='a'), dict(gallery_split='a'), dict(split='a')):
        with pytest.raises(ValueError, match='query_split and gallery_split both'):
            METRICS.build(
                dict(
                    type='ProductRetrieval',
                    **change,
                    **(dict(query_split='a', gallery_split='b') if 'split' in change else {}),
                )
            )


def test_one_label_queries_are_ordinary_retrieval():
    rng = np.random.default_rng(3)
    samples = [
        sample(f'p{rng.integers(8)}', instance=float(rng.uniform(0, 360))) for _ in range(40)
    ]
    fine, instance = (
        run(dict(type='ProductRetrieval', protocol=p, topk=(1, 10)), samples)
        for p in ('fine', 'product1m')
    )
    for key in ('mAP@1', 'mAP@10', 'mAP@10_chance', 'num_queries'):
        assert fine[f'product/fine_{key}'] == instance[f'product/product1m_{key}']
