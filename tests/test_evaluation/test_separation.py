"""Separation of clusters: worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from eclip_mm.evaluation.functional.separation import cluster_separation, silhouette


def test_two_clusters_by_hand():
    # distances: 0 inside the first; 1 - 0.6 inside the second; 1 and 1 - 0.8 between
    feats = [[1, 0], [2, 0], [0, 3], [0.8, 0.6]]
    values = silhouette(feats, list('aabb'))
    expected = [1, 1, (1 - 0.4) / 1, (0.2 - 0.4) / 0.4]
    # a: outside is the mean of 1 and 0.2, inside 0: 1
    np.testing.assert_allclose(values, expected, atol=1e-12)
    figures = cluster_separation(np.array(feats), list('aabb'))
    assert figures['silhouette'] == pytest.approx(np.mean(expected))
    # the last one's nearest neighbour, (1, 0), is of the other cluster; the third's is the last
    assert figures['nearest'] == 0.75
    assert figures['nearest_chance'] == pytest.approx(1 / 3)


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(7, size=200)
    labels[0] = 99  # alone in its cluster
    feats = rng.normal(size=(200, 16)) + rng.normal(size=(100, 16))[labels]
    ours = silhouette(feats * rng.uniform(0.1, 10, (200, 1)), labels)
    np.testing.assert_allclose(ours, silhouette_samples(feats, labels, metric='cosine'), atol=1e-9)
    assert ours[0] == 0


def test_equal_points_and_one_cluster():
    assert silhouette([[1, 0]] * 4, [0, 0, 1, 1]) == pytest.approx([0] * 4)
    with pytest.raises(ValueError, match='two clusters, got 1'):
        silhouette([[1, 0], [0, 1]], [0, 0])
