"""Recall of a proposer on annotated boxes."""

from collections.abc import Iterable, Sequence

import numpy as np

from eclip_mm.evaluation.functional import clip_boxes, pairwise_iou, visible_boxes


def proposal_recall(
    photos: Iterable[tuple], iou_thrs: Sequence[float], counts: Sequence[int]
) -> np.ndarray:
    """Fraction of boxes that one of the first proposals overlaps enough.

    Args:
        photos: for each photo proposals (K, 4) in order of preference,
            annotated boxes (G, 4), both xyxy pixels, and (height, width).
            Annotated boxes without area inside the photo do not count.
        iou_thrs: thresholds of IoU.
        counts: numbers of proposals of each photo to look at.

    Returns:
        (len(iou_thrs), len(counts)).

    Raises:
        ValueError: no photo has a box.
    """
    best = []  # of each annotated box: highest IoU among the first n proposals
    for proposals, boxes, img_shape in photos:
        boxes = visible_boxes(boxes, img_shape)
        overlaps = pairwise_iou(clip_boxes(proposals, img_shape), boxes)
        best += [[column[:n].max(initial=0) for n in counts] for column in overlaps.T]
    if not best:
        raise ValueError('there is no annotated box to find')
    best = np.array(best)
    return np.stack([(best >= thr).mean(0) for thr in iou_thrs])


def recall_figures(
    photos: Iterable[tuple], iou_thrs: Sequence[float], counts: Sequence[int]
) -> dict[str, float]:
    """Return :func:`proposal_recall` as figures ``recall@{threshold}/{count}``."""
    recall = proposal_recall(photos, iou_thrs, counts)
    return {
        f'recall@{thr}/{count}': float(value)
        for thr, row in zip(iou_thrs, recall, strict=True)
        for count, value in zip(counts, row, strict=True)
    }
