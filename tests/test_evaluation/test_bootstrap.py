"""The bootstrap interval against theory and against drawing queries one by one."""

import numpy as np
import pytest

from eclip_mm.evaluation.functional import bootstrap_interval


def test_interval_of_a_proportion_is_the_normal_one():
    scores = np.r_[np.ones(300), np.zeros(700)]
    low, high = bootstrap_interval(scores, num_resamples=4000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.002)
    assert high == pytest.approx(0.3 + half, abs=0.002)


def test_equals_drawing_queries():
    scores = np.random.default_rng(0).beta(2, 5, 50)
    rng = np.random.default_rng(1)
    means = [scores[rng.integers(0, 50, 50)].mean() for _ in range(4000)]
    ours = bootstrap_interval(scores, level=0.8, num_resamples=4000)
    np.testing.assert_allclose(ours, np.quantile(means, [0.1, 0.9]), atol=0.003)


def test_seeded_and_independent_of_order():
    scores = np.random.default_rng(0).random(40)
    assert bootstrap_interval(scores) == bootstrap_interval(scores[::-1])
    assert bootstrap_interval(scores) != bootstrap_interval(scores, seed=1)


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(0)
    groups = np.repeat(list('abcdefghijkl'), 5)
    scores = np.repeat(rng.random(12), 5)  # five photos of a product, all alike
    whole = bootstrap_interval(scores, num_resamples=500, groups=groups)
    np.testing.assert_allclose(whole, bootstrap_interval(scores[::5], num_resamples=500))
    apart = bootstrap_interval(scores, num_resamples=500)
    assert np.diff(apart) < 0.6 * np.diff(whole), 'photos counted as if independent'
    order = rng.permutation(60)
    mixed = bootstrap_interval(scores[order], num_resamples=500, groups=groups[order])
    np.testing.assert_allclose(mixed, whole)


def test_groups_of_different_sizes_against_drawing_them():
    groups, scores = np.array([0, 0, 0, 1, 2, 2]), np.array([1.0, 0, 1, 0, 1, 1])
    members, rng = [scores[groups == g] for g in range(3)], np.random.default_rng(1)
    means = [
        np.concatenate([members[g] for g in rng.integers(0, 3, 3)]).mean() for _ in range(4000)
    ]
    ours = bootstrap_interval(scores, level=0.5, num_resamples=4000, groups=groups)
    np.testing.assert_allclose(ours, np.quantile(means, [0.25, 0.75]), atol=0.03)


def test_edges():
    assert bootstrap_interval([0.25]) == (0.25, 0.25)
    with pytest.raises(ValueError, match='at least one'):
        bootstrap_interval([])
    with pytest.raises(ValueError, match='not finite'):
        bootstrap_interval([1, np.nan])
    with pytest.raises(ValueError, match='level'):
        bootstrap_interval([1], level=95)
