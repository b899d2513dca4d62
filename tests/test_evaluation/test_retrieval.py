"""Recall and AP against values by hand, by counting and by other libraries."""

import itertools

import numpy as np
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score

from eclip_mm.evaluation.functional import (
    average_precision_at_k,
    average_precision_chance,
    precision_at_k,
    recall_at_k,
    recall_chance,
)


def test_recall_by_hand():
    relevant = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert recall_at_k(relevant, 1).tolist() == [0, 1, 0]
    assert recall_at_k(relevant, 3).tolist() == [1, 1, 0]
    assert recall_at_k(relevant, 99).tolist() == [1, 1, 0]


def test_precision_by_hand():
    relevant = [0, 1, 1, 0, 1]
    assert precision_at_k(relevant, 3, 2) == 1 / 2
    assert precision_at_k(relevant, 3, 5) == 2 / 3, 'no deeper than |P|'
    assert precision_at_k(relevant, 9, 99) == 3 / 5, 'no deeper than the list'
    assert precision_at_k([0, 0], 0, 2) == 0


def test_the_toy_case_of_the_protocols():
    """100 relevant items, hits at ranks 1 and 6: 0.667 under m5, 0.013 under ir."""
    relevant = np.zeros(10, bool)
    relevant[[0, 5]] = True
    m5 = average_precision_at_k(relevant, 100, 10, 'm5')
    assert m5 == pytest.approx((1 / 1 + 2 / 6) / 2) and round(float(m5), 3) == 0.667
    assert average_precision_at_k(relevant, 100, 10, 'fine') == m5
    ir = average_precision_at_k(relevant, 100, 10, 'ir')
    assert ir == pytest.approx((1 / 1 + 2 / 6) / 100) and round(float(ir), 3) == 0.013


def test_average_precision_by_hand():
    relevant = [0, 1, 1, 0, 1]
    # with |P| = 3, m5 reads ranks 1 to 3: hits at 2 and 3
    assert average_precision_at_k(relevant, 3, 5, 'm5') == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision_at_k(relevant, 9, 5, 'm5') == pytest.approx(
        (1 / 2 + 2 / 3 + 3 / 5) / 3
    )
    assert average_precision_at_k(relevant, 9, 2, 'm5') == pytest.approx(1 / 2)
    assert average_precision_at_k(relevant, 9, 1, 'm5') == 0
    assert average_precision_at_k(relevant, 3, 5, 'ir') == pytest.approx(
        (1 / 2 + 2 / 3 + 3 / 5) / 3
    )
    assert average_precision_at_k(relevant, 3, 2, 'ir') == pytest.approx(1 / 2 / 3)
    # several queries at once; without relevant items AP is 0, never NaN
    both = average_precision_at_k([relevant, [0] * 5], [3, 0], 5, 'm5')
    np.testing.assert_allclose(both, [(1 / 2 + 2 / 3) / 2, 0])
    # AP@5 may exceed AP@1 under m5, as the paper's table does
    assert average_precision_at_k(relevant, 9, 5, 'm5') > average_precision_at_k(
        relevant, 9, 1, 'm5'
    )


def test_ir_over_the_whole_list_equals_sklearn():
    rng = np.random.default_rng(5)
    for _ in range(20):
        scores, labels = rng.permutation(40) / 40, rng.random(40) < 0.2
        if not labels.any():
            continue
        ranked = labels[np.argsort(-scores)]
        ours = average_precision_at_k(ranked, labels.sum(), 40, 'ir')
        assert ours == pytest.approx(average_precision_score(labels, scores))


@pytest.mark.parametrize('protocol', ['m5', 'fine', 'product1m'])
def test_m5_equals_sklearn_on_the_ranks_it_looks_at(protocol):
    rng = np.random.default_rng(6)
    for _ in range(20):
        ranked = rng.random(40) < 0.2
        depth = min(10, ranked.sum())
        if ranked[:depth].any():
            expected = average_precision_score(ranked[:depth], -np.arange(depth))
            ours = average_precision_at_k(ranked, ranked.sum(), 10, protocol)
            assert ours == pytest.approx(expected)


def test_recall_chance_equals_scipy():
    for relevant, size, k in ((3, 50_000, 10), (40, 200, 50), (7, 9, 5)):
        miss = hypergeom.pmf(0, size, relevant, k)
        assert recall_chance(relevant, size, k) == pytest.approx(1 - miss)


def test_average_precision_errors():
    with pytest.raises(ValueError, match="unknown protocol 'map'"):
        average_precision_at_k([1], 1, 1, 'map')
    with pytest.raises(ValueError, match='more relevant'):
        average_precision_at_k([1, 1], 1, 2, 'm5')
    with pytest.raises(ValueError, match='at least 1'):
        average_precision_at_k([1], 1, 0, 'm5')


@pytest.mark.parametrize('size, positives', [(6, 0), (6, 1), (6, 2), (6, 4), (5, 5), (1, 1)])
def test_chance_equals_the_mean_over_all_rankings(size, positives):
    rankings = np.zeros((0, size), bool)
    for places in itertools.combinations(range(size), positives):
        row = np.zeros((1, size), bool)
        row[0, list(places)] = True
        rankings = np.concatenate([rankings, row])
    for k in (1, 2, 3, 5, 10):
        assert recall_chance(positives, size, k) == pytest.approx(recall_at_k(rankings, k).mean())
        for protocol in ('m5', 'fine', 'ir'):
            mean = average_precision_at_k(
                rankings, np.full(len(rankings), positives), k, protocol
            ).mean()
            assert average_precision_chance(positives, size, k, protocol) == pytest.approx(
                mean, abs=1e-12
            ), (k, protocol)


def test_recall_chance_of_many_queries():
    np.testing.assert_allclose(recall_chance([1, 3, 0], [10, 12, 9], 1), [0.1, 0.25, 0])
    np.testing.assert_allclose(recall_chance([1, 1], [3, 10], 5), [1, 0.5])
