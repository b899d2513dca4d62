"""t-SNE of features, one panel per model (Figure 5)."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eclip_mm.utils.env_check import check_analysis

# Ten colours times five shapes distinguish fifty products.
MARKERS = 'os^DP'


def tsne_plane(feats, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Compute the t-SNE of features by cosine similarity, deterministically.

    Args:
        feats: (N, D), N >= 4, any length.
        perplexity: approximate number of neighbours that count, limited to a
            third of the points.
        seed: seed of the optimisation.

    Returns:
        (N, 2) float32.

    Raises:
        EnvironmentCheckError: scikit-learn is not installed.
        ValueError: there are fewer than four points.
    """
    check_analysis()
    # imported here, as no other picture needs these packages
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    feats = np.asarray(feats, dtype=np.float64)
    if len(feats) < 4:
        raise ValueError(f't-SNE needs at least four points, got {len(feats)}')
    norm = np.linalg.norm(feats, axis=1, keepdims=True)
    feats = feats / np.where(norm > 0, norm, 1)  # on the sphere, Euclidean order = cosine order
    perplexity = min(perplexity, (len(feats) - 1) / 3)
    # One thread: several add in any order, and t-SNE amplifies a difference in the last bit.
    with threadpool_limits(1):
        return TSNE(perplexity=perplexity, init='pca', random_state=seed).fit_transform(feats)


def plot_tsne(
    panels: Mapping[str, tuple[np.ndarray, Mapping[str, float]]],
    labels,
    out_file: str | Path,
    title: str = '',
    note: str = '',
) -> Path:
    """Draw the planes of several models side by side, with their separation below.

    Args:
        panels: name of a model -> (points (N, 2), figures of
            :func:`~eclip_mm.evaluation.functional.separation.cluster_separation`,
            measured on the features themselves).
        labels: (N,) product of each point, the same in all panels; a product
            has the same colour and shape everywhere.
        out_file: picture to write; missing folders are created.
        title: heading.
        note: a line at the bottom.

    Returns:
        ``out_file``.

    Raises:
        ValueError: there is no panel, or one has another number of points.
    """
    if not panels:
        raise ValueError('t-SNE needs at least one panel')
    _, codes = np.unique(np.asarray(labels), return_inverse=True)
    for name, (points, _) in panels.items():
        if np.shape(points) != (len(codes), 2):
            raise ValueError(f'{name}: points are ({len(codes)}, 2), got {np.shape(points)}')
    figure = Figure(figsize=(5.4 * len(panels), 6.4), layout='constrained')
    FigureCanvasAgg(figure)
    colours = matplotlib.colormaps['tab10'].colors
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, (points, separation)) in zip(axes, panels.items(), strict=True):
        for code in range(codes.max() + 1):
            marker = MARKERS[code // len(colours) % len(MARKERS)]
            axis.scatter(
                *np.asarray(points)[codes == code].T,
                s=11,
                color=colours[code % len(colours)],
                marker=marker,
                linewidths=0,
                alpha=0.8,
            )
        axis.set_title(name, fontsize=14)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_aspect('equal', adjustable='datalim')
        axis.set_xlabel(
            f'silhouette {separation["silhouette"]:.3f}\n'
            f'nearest neighbour of the same product {separation["nearest"]:.3f} '
            f'(chance {separation["nearest_chance"]:.3f})',
            fontsize=10,
        )
    if title:
        figure.suptitle(title, fontsize=15)
    if note:
        figure.supxlabel(note, fontsize=9, color='0.35')
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=120)
    return out_file
