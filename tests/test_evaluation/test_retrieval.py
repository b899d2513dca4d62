"""Nearest neighbours against brute force, AP against hand-worked and counted values."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from eclip_mm.evaluation.functional import (
    average_precision_at_k,
    average_precision_chance,
    recall_at_k,
    recall_chance,
    topk_similarity,
)


def brute_force(query, gallery, k, exclude=None):
    query, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    ranked = []
    for i, sims in enumerate(query @ gallery.T):
        order = sorted(range(len(gallery)), key=lambda j: (-sims[j], j))  # noqa: B023
        ranked.append([j for j in order if exclude is None or j != exclude[i]][:k])
    return np.array(ranked)


def test_topk_equals_brute_force():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(23, 8)), rng.normal(size=(57, 8))
    expected = brute_force(query, gallery, 10)
    scores, indices = topk_similarity(query, gallery, 10, tile=(7, 11))
    np.testing.assert_array_equal(indices, expected)
    cosine = (query * gallery[expected[:, 0]]).sum(1) / (
        np.linalg.norm(query, axis=1) * np.linalg.norm(gallery[expected[:, 0]], axis=1)
    )
    np.testing.assert_allclose(scores[:, 0], cosine, atol=1e-7)


def test_topk_equals_sklearn():
    rng = np.random.default_rng(4)
    query, gallery = rng.normal(size=(50, 16)), rng.normal(size=(300, 16))
    search = NearestNeighbors(n_neighbors=7, metric='cosine', algorithm='brute').fit(gallery)
    distances, expected = search.kneighbors(query)
    scores, indices = topk_similarity(query, gallery, 7)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(scores, 1 - distances, atol=1e-7)


def test_topk_drops_the_query_itself():
    rng = np.random.default_rng(1)
    feats = rng.normal(size=(31, 5)).astype(np.float32)
    itself = np.arange(31)
    itself[::3] = -1
    _, indices = topk_similarity(feats, feats, 4, tile=8, exclude=itself)
    np.testing.assert_array_equal(
        indices, brute_force(feats.astype(float), feats.astype(float), 4, itself)
    )
    assert (indices[::3, 0] == np.arange(31)[::3]).all()


@pytest.mark.parametrize('tile', [1, 3, (5, 4), (1, 100), 1000])
def test_ties_go_to_the_lowest_index_for_every_tile(tile):
    rng = np.random.default_rng(2)
    distinct = rng.normal(size=(4, 16)).astype(np.float32)
    which = rng.integers(0, 4, 60)
    # Scaled by powers of two, which normalising undoes exactly.
    gallery = distinct[which] * np.float32(2) ** rng.integers(-3, 4, (60, 1))
    scores, indices = topk_similarity(distinct, gallery, 30, tile=tile)
    expected_scores, expected = topk_similarity(distinct, gallery, 30)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(scores, expected_scores)  # bit for bit
    for query in range(4):
        own = np.nonzero(which == query)[0]
        np.testing.assert_array_equal(indices[query, : len(own)], own)


def test_collapsed_features_rank_by_index():
    gallery = np.tile(np.random.default_rng(3).normal(size=(1, 33)), (50, 1))
    for tile in (7, 50):
        _, indices = topk_similarity(gallery[:3], gallery, 5, tile=tile)
        assert (indices == np.arange(5)).all()


def test_topk_of_torch_numpy_and_bfloat16_agree():
    feats = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    scores, indices = topk_similarity(feats, feats, 3)
    assert isinstance(indices, torch.Tensor) and indices.dtype == torch.long
    other_scores, other = topk_similarity(feats.double().numpy(), feats.float().numpy(), 3)
    assert isinstance(other, np.ndarray)
    np.testing.assert_array_equal(indices.numpy(), other)
    np.testing.assert_array_equal(scores.numpy(), other_scores)


def test_topk_edges():
    feats = np.eye(3)
    scores, indices = topk_similarity(feats, feats, 10, exclude=[0, 1, -1])
    assert indices.tolist() == [[1, 2, -1], [0, 2, -1], [2, 0, 1]]
    assert scores[0, 2] == -np.inf and scores[2].tolist() == [1, 0, 0]
    scores, indices = topk_similarity(np.zeros((1, 3)), feats, 2)
    assert scores.tolist() == [[0, 0]] and indices.tolist() == [[0, 1]], 'a zero vector'
    assert topk_similarity(np.zeros((0, 3)), feats, 2)[1].shape == (0, 2)
    assert topk_similarity(feats, np.zeros((0, 3)), 2)[1].shape == (3, 0)


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(k=0), 'at least 1'),
        (dict(gallery=np.ones((3, 4))), 'features are'),
        (dict(exclude=[0, 1, 3]), 'exclude'),
        (dict(gallery=np.array([[0, 0, 1], [0, np.nan, 1], [1, 0, 0]])), 'gallery feature 1'),
    ],
)
def test_topk_errors(change, words):
    args = dict(query=np.eye(3), gallery=np.eye(3), k=1)
    with pytest.raises(ValueError, match=words):
        topk_similarity(**{**args, **change})


def test_topk_never_sees_more_than_a_tile(monkeypatch):
    feats = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    shapes = []
    topk = torch.Tensor.topk

    def spy(self, *args, **kwargs):
        shapes.append(tuple(self.shape))
        return topk(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'topk', spy)
    tracemalloc.start()  # numpy's memory; torch's is bounded by the shapes
    topk_similarity(feats, feats, 5, tile=(256, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(shapes) == 12 * 6
    assert max(rows for rows, _ in shapes) == 256 and max(cols for _, cols in shapes) == 512
    assert peak < 4e6, 'the full matrix would take 72 MB'


def test_recall_by_hand():
    relevant = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert recall_at_k(relevant, 1).tolist() == [0, 1, 0]
    assert recall_at_k(relevant, 3).tolist() == [1, 1, 0]
    assert recall_at_k(relevant, 99).tolist() == [1, 1, 0]


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
    # with |P| = 3, m5 looks at ranks 1 to 3: hits at 2 and 3
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
    # several queries at once; none relevant is 0, never NaN
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
