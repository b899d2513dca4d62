"""Results of models and indexes beside each other."""

import pytest


def assert_same(found, wanted, tolerance=1e-5):
    """Two results of ``Eclip`` are equal but for the last bits of their numbers."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key], tolerance)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=tolerance)
    else:
        assert found == wanted


def assert_hits_of_exact_index(found, right, tolerance):
    """The hits of an approximate index are those of the exact one, but for a hundredth."""
    same = total = 0
    for exact, hits in zip(right, found, strict=True):
        assert len(exact) == len(hits)
        known = {(hit['product_id'], hit['picture']): hit for hit in exact}
        for hit in hits:
            twin = known.get((hit['product_id'], hit['picture']))
            total += 1
            if twin is not None:
                same += 1
                assert {**hit, 'score': 0} == {**twin, 'score': 0}
                assert hit['score'] == pytest.approx(twin['score'], abs=tolerance)
    assert same >= 0.99 * total
