"""Separation of the features of different products."""

import numpy as np

from eclip_mm.evaluation.functional import topk_similarity


def silhouette(feats, labels) -> np.ndarray:
    """Silhouette of every sample under cosine distance (Rousseeuw, 1987).

    The silhouette is (b - a) / max(a, b), where a is the mean distance to the
    other samples of the same cluster and b the mean distance to the nearest
    other cluster. It is 1 for clusters far apart, 0 on the border between two,
    and negative nearer to another cluster. The mean cosine distance to a
    cluster needs only the sum of its unit vectors, so no N x N matrix is made.

    Args:
        feats: (N, D), any length.
        labels: (N,) cluster of each sample.

    Returns:
        (N,) in [-1, 1]; 0 for a sample that is alone in its cluster.

    Raises:
        ValueError: there are fewer than two clusters.
    """
    feats = np.asarray(feats, dtype=np.float64)
    _, codes, sizes = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(f'a silhouette needs at least two clusters, got {len(sizes)}')
    norm = np.sqrt((feats * feats).sum(1, keepdims=True))
    feats = feats / np.where(norm > 0, norm, 1)
    sums = np.zeros((len(sizes), feats.shape[1]))
    np.add.at(sums, codes, feats)
    distances = sizes - feats @ sums.T  # (N, C), summed over each cluster
    rows, own_size = np.arange(len(feats)), sizes[codes]
    # leave the sample itself out: its own distance is 0, or 1 for a zero vector
    own = distances[rows, codes] - (1 - (feats * feats).sum(1))
    inside = own / np.maximum(own_size - 1, 1)
    distances = distances / sizes
    distances[rows, codes] = np.inf
    outside = distances.min(1)
    scale = np.maximum(inside, outside)
    values = np.divide(outside - inside, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.where(own_size > 1, values, 0.0)


def cluster_separation(feats, labels) -> dict[str, float]:
    """Measure how well clusters are separated by cosine similarity.

    Args:
        feats: (N, D).
        labels: (N,) cluster of each sample.

    Returns:
        ``silhouette``, the mean of :func:`silhouette`; ``nearest``, the
        fraction of samples whose nearest neighbour is in their cluster;
        ``nearest_chance``, the same for a random neighbour.
    """
    labels = np.asarray(labels)
    values = silhouette(feats, labels)
    feats = np.asarray(feats)
    _, nearest = topk_similarity(feats, feats, 1, exclude=np.arange(len(feats)))
    sizes = np.unique(labels, return_counts=True)[1]
    return dict(
        silhouette=float(values.mean()),
        nearest=float((labels[nearest[:, 0]] == labels).mean()),
        nearest_chance=float((sizes * (sizes - 1)).sum() / (len(labels) * (len(labels) - 1))),
    )
