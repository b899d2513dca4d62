"""Student's t against a table and scipy; means and differences by hand."""

import math

import pytest

from eclip_mm.comparison.statistics import (
    mean_interval,
    paired_difference,
    t_coverage,
    t_quantile,
)

# any textbook's table, two-sided
TABLE = {
    (0.95, 1): 12.706,
    (0.95, 2): 4.303,
    (0.95, 4): 2.776,
    (0.95, 9): 2.262,
    (0.95, 30): 2.042,
    (0.99, 2): 9.925,
    (0.5, 5): 0.727,
}


@pytest.mark.parametrize('coverage, freedom', TABLE)
def test_the_quantile_equals_the_table(coverage, freedom):
    expected = TABLE[coverage, freedom]
    assert t_quantile(coverage, freedom) == pytest.approx(expected, abs=5e-4)


def test_coverage_and_quantile_agree_with_scipy():
    stats = pytest.importorskip('scipy.stats')
    for freedom in (1, 2, 3, 7, 8, 50, 201):
        for t in (0.0, 0.3, 2.0, 9.0):
            expected = stats.t.cdf(t, freedom) - stats.t.cdf(-t, freedom)
            assert t_coverage(t, freedom) == pytest.approx(expected, abs=1e-10)
        assert t_quantile(0.9, freedom) == pytest.approx(stats.t.ppf(0.95, freedom), rel=1e-9)


@pytest.mark.parametrize('coverage, freedom', [(0.0, 2), (1.0, 2), (95, 2), (0.95, 0)])
def test_invalid_arguments_are_an_error(coverage, freedom):
    with pytest.raises(ValueError, match='coverage lies between 0 and 1'):
        t_quantile(coverage, freedom)


def test_mean_and_interval_by_hand():
    # s^2 = (1 + 0 + 1) / 2 = 1, so the half width is 4.3027 / sqrt(3)
    mean, low, high, n = mean_interval([1.0, 2.0, 3.0])
    assert (mean, n) == (2.0, 3)
    assert high - 2 == pytest.approx(4.30265 / math.sqrt(3), abs=1e-5)
    assert low + high == pytest.approx(4)


def test_one_value_has_no_interval():
    estimate = mean_interval([0.25])
    assert estimate == (0.25, None, None, 1) and estimate.half_width is None


@pytest.mark.parametrize('values', [[], [0.1, float('nan')]])
def test_a_mean_of_nothing_or_of_nan_is_an_error(values):
    with pytest.raises(ValueError, match='finite values'):
        mean_interval(values)


def test_the_difference_pairs_seeds():
    # differences 0.1, 0.1, 0: mean 1/15, s^2 = 2 (1/30)^2 + (1/15)^2, all over 2 = 1/300
    ours = {0: 0.5, 1: 0.6, 2: 0.7, 9: 0.0}
    theirs = {2: 0.7, 1: 0.5, 0: 0.4, 5: 1.0}
    difference = paired_difference(ours, theirs)
    assert difference.mean == pytest.approx(1 / 15) and difference.n == 3
    assert difference.half_width == pytest.approx(4.30265 * math.sqrt(1 / 300 / 3), abs=1e-5)


def test_effects_of_a_seed_on_both_runs_cancel():
    easy = {0: 0.1, 1: 0.5, 2: 0.9}
    difference = paired_difference({k: v + 0.02 for k, v in easy.items()}, easy)
    assert difference.low == pytest.approx(0.02) and difference.high == pytest.approx(0.02)


def test_no_common_seed_is_no_difference():
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
