"""Zero-shot classification: prompt ensembles, top-k."""

import numpy as np
import torch

from eclip_mm.evaluation.functional.topk import topk_similarity


def _normalise(feats: np.ndarray) -> np.ndarray:
    norm = np.sqrt((feats * feats).sum(-1, keepdims=True))
    return np.divide(feats, norm, out=np.zeros_like(feats), where=norm > 0)


def ensemble_prompts(feats) -> np.ndarray:
    """Make one feature per class: the normalised mean of its normalised prompt features.

    Args:
        feats: per class, (T_c, D) features of its T_c >= 1 prompts, or (D,)
            for one prompt.

    Returns:
        (C, D) float32, unit length.

    Raises:
        ValueError: a class has no prompt, a feature is not finite, or the
            widths differ.
    """
    rows = []
    for index, item in enumerate(feats):
        if isinstance(item, torch.Tensor):
            item = item.detach().cpu().double().numpy()
        item = np.atleast_2d(np.asarray(item, dtype=np.float64))
        if item.ndim != 2 or item.size == 0:
            raise ValueError(
                f'class {index} needs (T, D) prompt features, T >= 1, got an array '
                f'of shape {item.shape}'
            )
        if not np.isfinite(item).all():
            raise ValueError(f'a prompt feature of class {index} is not finite')
        if rows and rows[0].shape != item.shape[1:]:
            raise ValueError(
                f'class {index} has features of width {item.shape[1]}, the classes '
                f'before it {len(rows[0])}'
            )
        rows.append(_normalise(_normalise(item).mean(0)))
    return np.stack(rows).astype(np.float32)


def classify(feats, class_feats, k: int) -> np.ndarray:
    """Find the k classes whose features are nearest by cosine similarity.

    Args:
        feats: (N, D).
        class_feats: (C, D).
        k: number of classes; at most C are returned.

    Returns:
        (N, min(k, C)) int64 class indices, best first; equal similarities are
        ordered by class index.
    """
    return np.asarray(topk_similarity(feats, class_feats, k)[1])


def topk_correct(ranked, labels, k: int) -> np.ndarray:
    """Is the label among the first k classes?

    Args:
        ranked: (N, K) class indices, best first.
        labels: (N,) right class index; -1 (the sample's class has no prompt)
            is never right.
        k: cut-off.

    Returns:
        (N,) float64, 1 or 0.
    """
    ranked, labels = np.asarray(ranked)[:, :k], np.asarray(labels)
    return ((ranked == labels[:, None]) & (labels[:, None] >= 0)).any(1).astype(np.float64)
