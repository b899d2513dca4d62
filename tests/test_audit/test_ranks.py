"""p-values of ranks by loops, and which of them are flagged."""

import numpy as np
import pytest

from eclip_mm.audit.ranks import (
    LEAST_IN_CATEGORY,
    LEAST_REFERENCES,
    flag_misfits,
    misfit_fraction,
    rank_p_values,
)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def vectors(count, seed, dims=6):
    return unit(np.random.default_rng(seed).normal(size=(count, dims)))


def test_p_values_by_loops():
    """Categories of 22, of 3 (too few: all references count) and equal references, in blocks."""
    references = vectors(40, 0)
    references[5] = references[2]  # equal to another one of its category: it does not count
    groups = np.array([0] * 22 + [1] * 3 + [-1] * 15)
    x, own = vectors(50, 1), np.random.default_rng(2).integers(40, size=50)
    found = rank_p_values(x, own, references, groups)
    for k in range(50):
        mine = references[own[k]]
        rows = [j for j in range(40) if groups[j] == groups[own[k]]]
        if len(rows) <= LEAST_IN_CATEGORY:
            rows = range(40)
        others = [references[j] for j in rows if j != own[k] and references[j] @ mine < 1 - 1e-5]
        better = sum(x[k] @ other >= x[k] @ mine for other in others)
        assert found[k] == pytest.approx((1 + better) / (1 + len(others)))


def test_other_vectors_may_stand_for_the_own_reference():
    references, groups = vectors(20, 0), np.zeros(20, int)
    x, own = vectors(5, 1), np.arange(5)
    found = rank_p_values(x, own, references, groups, own_vectors=x)  # nothing fits better
    assert found == pytest.approx(np.full(5, 1 / 20))


def test_with_few_references_there_is_no_p_value():
    """A catalogue of 9 products, and one of 30 products of one title: nothing can be said."""
    few = vectors(LEAST_REFERENCES, 0)
    assert np.isnan(rank_p_values(few, np.arange(9), few, np.zeros(9, int))).all()
    same = np.repeat(vectors(1, 0), 30, axis=0)
    assert np.isnan(rank_p_values(vectors(30, 1), np.arange(30), same, np.zeros(30, int))).all()
    assert not flag_misfits(np.full(30, np.nan)).any()


def test_what_is_flagged_is_mostly_what_does_not_fit():
    """Of 1,000 that fit and 20 whose reference is another one, over 20 catalogues."""
    right = flagged = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = np.concatenate([rng.uniform(size=20), rng.beta(0.2, 12, size=1000)])
        found = flag_misfits(p)
        right, flagged = right + found[:20].sum(), flagged + found.sum()
    assert right / 400 >= 0.7 and right / flagged >= 0.65  # 0.7 is asked; an estimate of 20


def test_nothing_is_flagged_where_everything_fits():
    rng = np.random.default_rng(0)
    assert not flag_misfits(rng.uniform(0.001, 0.3, size=1000)).any()
    assert flag_misfits(np.array([0.9, *[0.01] * 99])).tolist() == [True, *[False] * 99]
    assert not flag_misfits(np.zeros(0)).any()


def test_nothing_is_flagged_where_nothing_fits():
    """A model that knows nothing has even p-values: its fixes would exclude the catalogue."""
    p = np.arange(1, 101) / 100
    assert misfit_fraction(p) == 1.0 and not flag_misfits(p).any()
    # 10 of 100 above 0.5 are 20% that do not fit, and 11 are more
    p = np.array([*[0.9] * 10, *[0.01] * 90, np.nan])
    assert misfit_fraction(p) == 0.2 and flag_misfits(p).sum() == 10
    p[10] = 0.9
    assert not flag_misfits(p).any()
    assert misfit_fraction(np.full(3, np.nan)) == 0.0
