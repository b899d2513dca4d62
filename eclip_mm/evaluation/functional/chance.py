"""Chance: the expectation of each figure under a uniformly random answer.

The expectations are exact, not sampled. A figure means little without its
chance: the right one of three boxes is easier to find than the right one of
ten.
"""

import numpy as np

from eclip_mm.evaluation.functional.boxes import clip_boxes, union_area
from eclip_mm.evaluation.functional.retrieval import ap_depth


def topk_chance(num_classes: int, k: int) -> float:
    """Chance of top-k accuracy with one right class among ``num_classes`` >= 1."""
    return min(k / num_classes, 1.0)


def recall_chance(num_relevant, gallery_size, k) -> np.ndarray:
    """Chance that k random items of the gallery hold a relevant one.

    1 - C(G - P, k) / C(G, k); for k = 1 that is P / G.

    Args:
        num_relevant: (...,) P of each query.
        gallery_size: (...,) G of each query, without the query itself.
        k: (...,) cut-off; k >= G is the whole gallery.

    Returns:
        (...,) float64; 0 where P or k is 0.
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

    Let d be the depth, G the size of the gallery, P the number of relevant
    items and H_d = 1 + 1/2 + ... + 1/d. For ``ir``, E[rel_i hits_i] =
    P/G (1 + (i - 1)(P - 1)/(G - 1)) is summed over i with weight 1/i and
    divided by P. For the other protocols, the expectation given h >= 1 hits at
    random places is H_d/d + (h - 1)(d - H_d) / (d (d - 1)). It is linear in h,
    so only P(h >= 1) and E[h] = d P / G are needed.

    Args:
        num_relevant: (...,) P of each query.
        gallery_size: (...,) G of each query.
        k: cut-off.
        protocol: as in
            :func:`~eclip_mm.evaluation.functional.average_precision_at_k`.
        num_listed: (...,) |P| with duplicates, which bounds the depth under
            ``product1m``. Defaults to ``num_relevant``.

    Returns:
        (...,) float64; 0 where P is 0.
    """
    num_listed = num_relevant if num_listed is None else num_listed
    num_relevant, size = np.broadcast_arrays(
        np.asarray(num_relevant, np.int64), np.asarray(gallery_size, np.int64)
    )
    depth = np.minimum(ap_depth(num_listed, k, k, protocol), size)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])[depth]
    fraction = np.divide(num_relevant, size, out=np.zeros(depth.shape), where=size > 0)
    if protocol == 'ir':
        others = np.clip(num_relevant - 1, 0, None) / np.clip(size - 1, 1, None)
        total = fraction * (harmonic + (depth - harmonic) * others)
        return np.divide(total, num_relevant, out=np.zeros_like(total), where=num_relevant > 0)
    any_hit = recall_chance(num_relevant, size, depth)
    at_one = np.divide(harmonic, depth, out=np.zeros_like(harmonic), where=depth > 0)
    slope = np.divide(
        depth - harmonic, depth * (depth - 1), out=np.zeros_like(harmonic), where=depth > 1
    )
    return any_hit * at_one + (depth * fraction - any_hit) * slope


def right_box_chance(right) -> float:
    """Chance that a random candidate is right.

    Args:
        right: (K,) bool, whether each candidate is right.

    Returns:
        Fraction of right candidates; 0 without candidates.
    """
    right = np.asarray(right, dtype=bool)
    return float(right.mean()) if right.size else 0.0


def pointing_chance(boxes, img_shape) -> float:
    """Chance that a random point of the picture lies in a right box.

    It is also the energy of a constant map.

    Args:
        boxes: (G, 4) xyxy pixels of the right boxes.
        img_shape: (height, width) in pixels.

    Returns:
        Area of the boxes' union inside the picture / area of the picture.
    """
    return union_area(clip_boxes(boxes, img_shape)) / (img_shape[0] * img_shape[1])
