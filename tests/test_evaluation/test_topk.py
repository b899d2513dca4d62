"""Nearest neighbours against brute force, scikit-learn and the whole float64 matrix."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from eclip_mm.evaluation.functional import topk as module
from eclip_mm.evaluation.functional import topk_similarity


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


@pytest.fixture
def tiles(monkeypatch):
    """(how, rows, columns) of every tile."""
    seen = []

    def spy(name):
        function = getattr(module, name)

        def wrapped(left, right, *args):
            found = function(left, right, *args)
            seen.append((name if found is not None else 'too many', len(left), len(right)))
            return found

        monkeypatch.setattr(module, name, wrapped)

    spy('_above')
    spy('_all_pairs')
    return seen


def test_topk_never_sees_more_than_a_tile(tiles):
    feats = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    tracemalloc.start()  # numpy's memory; torch's is bounded by the tiles
    topk_similarity(feats, feats, 5, tile=(256, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len([how for how, *_ in tiles if how != 'too many']) == 12 * 6
    assert max(rows for _, rows, _ in tiles) == 256 and max(cols for *_, cols in tiles) == 512
    assert peak < 4e6, 'the full matrix would take 72 MB'


def whole_matrix(query, gallery, k, exclude=None):
    """Slow reference on the same grid: all similarities in float64, sorted by (score, index)."""
    left, right = (module._grid_rows(x, slice(0, None), 'x') for x in (query, gallery))
    scores = left @ right.T / module._GRID**2
    if exclude is not None:
        rows = np.nonzero(exclude >= 0)[0]
        scores[rows, exclude[rows]] = -np.inf
    index = np.broadcast_to(np.arange(len(gallery)), scores.shape)
    order = np.lexsort((index, -scores))[:, :k]
    scores = np.take_along_axis(scores, order, 1)
    return scores, np.where(scores > -np.inf, order, -1)


def make_features(kind, rng):
    if kind == 'random':
        return rng.normal(size=(400, 48)).astype(np.float32)
    if kind == 'tied':  # 12 distinct vectors: every row ends within a tie
        return rng.normal(size=(12, 48)).astype(np.float32)[rng.integers(0, 12, 400)]
    # similarities that differ by less than float32 resolves, some of them equal
    centres = rng.normal(size=(20, 48))[rng.integers(0, 20, 400)]
    return centres + 1e-7 * np.round(rng.normal(size=(400, 48)))


@pytest.mark.parametrize('kind', ['random', 'tied', 'close'])
@pytest.mark.parametrize('k, tile', [(1, 64), (5, 64), (5, (400, 30)), (40, 32), (1000, 128)])
def test_the_float32_prefilter_is_exact(kind, k, tile, tiles):
    rng = np.random.default_rng(7)
    feats = make_features(kind, rng)
    exclude = np.where(rng.random(400) < 0.7, np.arange(400), rng.integers(-1, 400, 400))
    scores, indices = topk_similarity(feats, feats, k, tile=tile, exclude=exclude)
    expected_scores, expected = whole_matrix(feats, feats, min(k, 400), exclude)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(scores, expected_scores)  # bit for bit
    if kind == 'random' and k == 1:
        assert sum(how == '_above' for how, *_ in tiles) > len(tiles) / 2, 'it was used'


@pytest.mark.parametrize('scale', [1e-42, 1e-20, 1, 1e30])
def test_float32_features_of_any_length(scale):
    feats = (np.random.default_rng(9).normal(size=(90, 24)) * scale).astype(np.float32)
    feats[7] = 0
    scores, indices = topk_similarity(feats, feats, 4, tile=20)
    expected_scores, expected = whole_matrix(feats, feats, 4)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_a_gallery_that_improves_all_the_time(tiles):
    """Every column is better than all before it: candidates are dropped on the way."""
    angle = np.linspace(1.5, 0, 4000)
    gallery = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    _, indices = topk_similarity(np.eye(2)[:1].repeat(3, 0), gallery, 5, tile=(3, 100))
    # the last ones lie closer together than the grid resolves
    _, expected = whole_matrix(np.eye(2)[:1].repeat(3, 0), gallery, 5)
    np.testing.assert_array_equal(indices, expected)


def test_a_prepared_gallery_is_read_as_it_is():
    feats = np.random.default_rng(3).normal(size=(200, 16)).astype(np.float32)
    unit = feats / np.linalg.norm(feats, axis=1, keepdims=True)

    class Rows:
        shape = unit.shape

        def __getitem__(self, index):
            return unit[index]

    for got, want in zip(
        topk_similarity(feats, Rows(), 6, tile=50, unit_gallery=True),
        topk_similarity(feats, unit, 6),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)


def test_most_tiles_need_no_float64_product(tiles):
    feats = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    topk_similarity(feats, feats, 10, tile=(1000, 200))
    assert [how for how, *_ in tiles].count('_all_pairs') <= 4, 'of 20'


@pytest.mark.parametrize('dims', [1, 3, 64, 1000, 30_000])
def test_float32_errs_less_than_the_bound(dims):
    rng = np.random.default_rng(8)
    kinds = (rng.random((40, dims)), rng.normal(size=(40, dims)), np.ones((1, dims)))
    for feats in (kind.astype(np.float32) for kind in kinds):
        grid = torch.from_numpy(module._grid_rows(feats, slice(0, None), 'x')) / module._GRID
        unit = module._unit_rows(feats.astype(np.float32), slice(0, None), False)
        error = (grid.float() @ unit.T).double() - grid @ grid.T
        assert error.abs().max() < module._error_bound(dims)
        assert (unit - grid).norm(dim=1).max() < (3 + dims**0.5 / 8) * 2.0**-24


def test_rough_float32_products_are_not_trusted(monkeypatch, tiles):
    feats = np.random.default_rng(0).normal(size=(300, 16))
    expected = topk_similarity(feats, feats, 3, tile=50)
    assert any(how == '_above' for how, *_ in tiles)
    tiles.clear()
    monkeypatch.setattr(torch, 'get_float32_matmul_precision', lambda: 'high')
    for got, want in zip(topk_similarity(feats, feats, 3, tile=50), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert {how for how, *_ in tiles} == {'_all_pairs'}


def test_autocast_changes_nothing():
    """Autocast would compute the float32 products in bf16, for which the bound does not hold."""
    rng = np.random.default_rng(0)
    query = rng.normal(size=(50, 64))
    gallery = query[np.arange(4096) % 50] + 0.1 * rng.normal(size=(4096, 64))
    expected = topk_similarity(query, gallery, 5, tile=512)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = topk_similarity(query, gallery, 5, tile=512)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])
