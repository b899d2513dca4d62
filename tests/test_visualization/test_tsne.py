"""t-SNE: clusters stay clusters, equal calls give equal points, every product is drawn."""

import numpy as np
import pytest
from PIL import Image

from eclip_mm.evaluation.functional.separation import cluster_separation, silhouette
from eclip_mm.utils import env_check
from eclip_mm.visualization import plot_tsne, tsne_plane


@pytest.fixture(scope='module')
def clusters():
    """Features of 6 products with 12 samples each, far apart, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 12)
    return np.eye(16)[labels] * 4 + rng.normal(size=(72, 16)) * 0.3, labels


def test_the_plane_keeps_clusters_and_repeats(clusters):
    feats, labels = clusters
    points = tsne_plane(feats, perplexity=10)
    assert points.shape == (72, 2)
    nearest = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(nearest, np.inf)
    assert (labels[nearest.argmin(1)] == labels).all()
    np.testing.assert_array_equal(points, tsne_plane(feats, perplexity=10))
    # the lengths of features do not matter
    np.testing.assert_allclose(points, tsne_plane(feats * 2.0, perplexity=10))
    assert not np.allclose(points, tsne_plane(feats[::-1], perplexity=10))


def test_few_points(clusters):
    assert np.isfinite(tsne_plane(clusters[0][:5])).all(), 'a perplexity of 30 is lowered'
    with pytest.raises(ValueError, match='four points, got 3'):
        tsne_plane(clusters[0][:3])


def test_missing_scikit_learn_is_named_with_command(clusters, monkeypatch):
    monkeypatch.setattr(env_check, '_installed', lambda packages: {})
    monkeypatch.setattr(env_check, '_importable', lambda module: False)
    with pytest.raises(ImportError, match="pip install 'scikit-learn>="):
        tsne_plane(clusters[0])


def test_panels_side_by_side(clusters, tmp_path):
    feats, labels = clusters
    good, bad = cluster_separation(feats, labels), cluster_separation(feats, np.roll(labels, 6))
    assert good['nearest'] == 1 and good['silhouette'] > 0.8 > bad['silhouette']
    assert silhouette(feats, labels).min() > 0
    rng = np.random.default_rng(0)
    points = rng.normal(size=(72, 2))
    one = plot_tsne({'CLIP': (points, bad)}, labels, tmp_path / 'new' / 'one.png')
    two = plot_tsne(
        {'CLIP': (points, bad), 'ECLIP': (points, good)}, labels, tmp_path / 'two.png', 'Title'
    )
    with Image.open(one) as a, Image.open(two) as b:
        assert b.width == 2 * a.width
        assert len(b.convert('RGB').getcolors(2**20)) > 6
    with pytest.raises(ValueError, match=r'CLIP: points are \(72, 2\), got \(71, 2\)'):
        plot_tsne({'CLIP': (points[1:], bad)}, labels, tmp_path / 'x.png')
    with pytest.raises(ValueError, match='at least one panel'):
        plot_tsne({}, labels, tmp_path / 'x.png')
