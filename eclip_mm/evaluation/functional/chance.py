"""What guessing would score: the expectation of each figure under a uniformly random answer.

Exact, not sampled. A figure means little without it: the right one of three
boxes is easier to find than the right one of ten.
"""

import numpy as np

from eclip_mm.evaluation.functional.boxes import clip_boxes, union_area
from eclip_mm.evaluation.functional.retrieval import ap_depth


def topk_chance(num_classes: int, k: int) -> float:
    """Chance of top-k accuracy with one right class among ``num_classes``, at least one."""
    return min(k / num_classes, 1.0)


def recall_chance(num_relevant, gallery_size, k) -> np.ndarray:
    """Chance that k random items of the gallery hold a relevant one.

    1 - C(G - P, k) / C(G, k); for k = 1 that is P / G.

    Args:
        num_relevant: (...,) P of each query.
        gallery_size: (...,) G of each query, the query
            itself not counted.
        k: (...,) cut-off; k >= G is the whole gallery.

    Returns:
        ndarray: (...,) float64; 0 where P or k is 0.
    """
    num_relevant, size, k = np.broadcast_arrays(
        np.asarray(num_relevant, float), np.asarray(gallery_size, float), np.asarray(k, float)
    )
    miss = np.ones(num_relevant.shape)
    for i in range(int(k.max(initial=0))):
        drawn = (i < k) & (i < size)
        left = np.clip(size - num_relevant - i, 0, None)
        miss *= np.divide(left, size - i, out=np.ones_like(miss), where=drawn)
    return 1 - miss


def average_precision_chance(
    num_relevant, gallery_size, k: int, protocol: str, num_listed=None
) -> np.ndarray:
    """Expected AP@k of a random ranking, in closed form.

    With depth d, gallery G, P relevant and H_d = 1 + 1/2 + ... + 1/d. For
    ``ir``: E[rel_i hits_i] = P/G (1 + (i - 1)(P - 1)/(G - 1)), summed over i
    with weight 1/i and divided by P. For the others: given h >= 1 hits at random
    places the expectation is H_d/d + (h - 1)(d - H_d) / (d (d - 1)),
    linear in h, so only P(h >= 1) and E[h] = d P / G are needed.

    Args:
        num_relevant: (...,) P of each query.
        gallery_size: (...,) G of each query.
        k: Cut-off.
        protocol: As in
            :func:`~eclip_mm.evaluation.functional.average_precision_at_k`.
        num_listed: (...,) |P| with duplicates, which
            bounds the depth under ``product1m``. Defaults to ``num_relevant``.

    Returns:
        ndarray: (...,) float64; 0 where P is 0.
    """
    num_listed = num_relevant if num_listed is None else num_listed
    num_relevant, size = np.broadcast_arrays(
        np.asarray(num_relevant, np.int64), np.asarray(gallery_size, np.int64)
    )
    depth = np.minimum(ap_depth(num_listed, k, k, protocol), size)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])[depth]
    share = np.divide(num_relevant, size, out=np.zeros(depth.shape), where=size > 0)
    if protocol == 'ir':
        others = np.clip(num_relevant - 1, 0, None) / np.clip(size - 1, 1, None)
        total = share * (harmonic + (depth - harmonic) * others)
        return np.divide(total, num_relevant, out=np.zeros_like(total), where=num_relevant > 0)
    any_hit = recall_chance(num_relevant, size, depth)
    at_one = np.divide(harmonic, depth, out=np.zeros_like(harmonic), where=depth > 0)
    slope = np.divide(
        depth - harmonic, depth * (depth - 1), out=np.zeros_like(harmonic), where=depth > 1
    )
    return any_hit * at_one + (depth * share - any_hit) * slope


def right_box_chance(right) -> float:
    """Chance that a random candidate is right.

    Args:
        right: (K,) bool, which candidates are right.

    Returns:
        Share of right ones; 0 without candidates.
    """
    right = np.asarray(right, dtype=bool)
    return float(right.mean()) if right.size else 0.0


def pointing_chance(boxes, img_shape) -> float:
    """Chance that a random point of the picture lies in a right box.

    Also what a constant map has as energy inside.

    Args:
        boxes: (G, 4) xyxy pixels of the right boxes.
        img_shape: (height, width) in pixels.

    Returns:
        Area of the boxes' union inside the picture / area of it.
    """
    return union_area(clip_boxes(boxes, img_shape)) / (img_shape[0] * img_shape[1])
