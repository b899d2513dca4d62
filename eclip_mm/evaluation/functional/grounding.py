"""Localisation by a score map: box scores, pointing game, energy.

A score map of one picture is an (h, w) array of non-negative numbers on the
patch grid. Coordinates are pixels of the picture with continuous edges: pixel
(row r, column c) covers [c, c + 1] x [r, r + 1].
"""

import numpy as np
import torch
import torch.nn.functional as F

from eclip_mm.evaluation.functional.boxes import (
    as_boxes,
    box_area,
    clip_boxes,
    pairwise_iou,
    union_rectangles,
)

#: exponent of the area in the score of a box: ALBEF's convention
ALPHA = 0.5


def _as_map(score_map) -> np.ndarray:
    score_map = np.asarray(score_map, dtype=np.float64)
    if score_map.ndim != 2 or score_map.size == 0:
        raise ValueError(f'a score map is (h, w), got an array of shape {score_map.shape}')
    if not np.isfinite(score_map).all():
        raise ValueError('the score map has values that are not finite')
    return score_map


def upsample_score_map(score_map, img_shape) -> np.ndarray:
    """Bring a score map to the size of the picture.

    The interpolation is bilinear between patch centres
    (``align_corners=False``); beyond the outermost centres the value is
    constant.

    Args:
        score_map: (h, w).
        img_shape: (height, width) in pixels.

    Returns:
        (height, width) float64.
    """
    grid = torch.from_numpy(_as_map(score_map))[None, None]
    size = (int(img_shape[0]), int(img_shape[1]))
    return F.interpolate(grid, size=size, mode='bilinear', align_corners=False)[0, 0].numpy()


def box_sums(score_map, boxes) -> np.ndarray:
    """Integrate a pixel map over each box.

    The map is constant inside a pixel, so its integral image, interpolated
    linearly between pixel corners, is exact for fractional edges too: a box
    that covers half of a pixel gets half of its value.

    Args:
        score_map: (height, width), one value per pixel; 0 outside.
        boxes: (K, 4) xyxy pixels.

    Returns:
        (K,) float64.
    """
    score_map = _as_map(score_map)
    boxes = clip_boxes(boxes, score_map.shape)
    height, width = score_map.shape
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = score_map.cumsum(0).cumsum(1)

    def at(x, y):
        col = np.minimum(x.astype(int), width - 1)
        row = np.minimum(y.astype(int), height - 1)
        dx, dy = x - col, y - row
        return (1 - dy) * ((1 - dx) * integral[row, col] + dx * integral[row, col + 1]) + dy * (
            (1 - dx) * integral[row + 1, col] + dx * integral[row + 1, col + 1]
        )

    x1, y1, x2, y2 = boxes.T
    return at(x2, y2) - at(x1, y2) - at(x2, y1) + at(x1, y1)


def score_boxes(score_map, boxes, alpha: float = ALPHA) -> np.ndarray:
    """Score candidate boxes: the sum of S inside b / area(b)^alpha.

    Args:
        score_map: (height, width), the map at the size of the picture
            (:func:`upsample_score_map`).
        boxes: (K, 4) xyxy pixels. They are cut at the border of the picture
            before their area is taken.
        alpha: 0 prefers large boxes, 1 gives the mean of S.

    Returns:
        (K,) float64; a box without area scores 0.
    """
    boxes = clip_boxes(boxes, np.shape(score_map))
    area = box_area(boxes)
    sums = box_sums(score_map, boxes)
    return np.divide(sums, area**alpha, out=np.zeros_like(sums), where=area > 0)


def top1_box(score_map, boxes, alpha: float = ALPHA) -> int:
    """Return the index of the candidate with the highest score.

    Args:
        score_map: (height, width), at the size of the picture.
        boxes: (K, 4) xyxy pixels, K >= 1.
        alpha: as in :func:`score_boxes`.

    Returns:
        Index into ``boxes``; the lowest one of equal scores.

    Raises:
        ValueError: there is no candidate.
    """
    boxes = as_boxes(boxes)
    if len(boxes) == 0:
        raise ValueError('there is no candidate box to choose from')
    return int(score_boxes(score_map, boxes, alpha).argmax())


def right_candidates(candidates, gt_bboxes, iou_thr: float) -> np.ndarray:
    """Mark the candidates that overlap a right box enough.

    Args:
        candidates: (K, 4) xyxy pixels.
        gt_bboxes: (G, 4) xyxy pixels.
        iou_thr: least IoU.

    Returns:
        (K,) bool.
    """
    return (pairwise_iou(candidates, gt_bboxes) >= iou_thr).any(1)


def peak_points(score_map, img_shape) -> np.ndarray:
    """Find the places where the map is highest.

    A bilinear surface takes its maximum at a node, so the peak of the
    upsampled map is the centre of the highest patch. No pixel raster is
    needed, and none can bias the result.

    Args:
        score_map: (h, w) on the patch grid.
        img_shape: (height, width) in pixels.

    Returns:
        (P, 2) points (x, y) in pixels, one for each patch with exactly the
        highest value, in row-major order.
    """
    score_map = _as_map(score_map)
    rows, cols = np.nonzero(score_map == score_map.max())
    scale = np.array([img_shape[1] / score_map.shape[1], img_shape[0] / score_map.shape[0]])
    return (np.stack([cols, rows], 1) + 0.5) * scale


def pointing_hit(score_map, boxes, img_shape) -> float:
    """Pointing game: is the peak of the map inside a right box?

    The box has no tolerance around it; its edge belongs to it. If several
    patches have the highest value (a saturated map), the result is the
    fraction of them that lies inside: a constant map then scores what guessing
    scores, instead of what its first pixel happens to hit.

    Args:
        score_map: (h, w) on the patch grid.
        boxes: (G, 4) xyxy pixels of the right boxes.
        img_shape: (height, width) in pixels.

    Returns:
        0 or 1; a fraction if the peak is tied.
    """
    boxes = as_boxes(boxes)
    points = peak_points(score_map, img_shape)[:, None]
    inside = ((points >= boxes[None, :, :2]) & (points <= boxes[None, :, 2:])).all(-1).any(1)
    return float(inside.mean())


def energy_inside(score_map, boxes) -> float:
    """Fraction of the map's sum that lies inside the union of the right boxes.

    Args:
        score_map: (height, width), at the size of the picture, non-negative.
        boxes: (G, 4) xyxy pixels of the right boxes.

    Returns:
        In [0, 1]; 0 for a map that is zero everywhere.

    Raises:
        ValueError: the map has a negative value, so that the fraction is not
            defined.
    """
    score_map = _as_map(score_map)
    if score_map.min() < 0:
        raise ValueError(f'energy needs a non-negative map, its lowest value is {score_map.min()}')
    total = score_map.sum()
    if total == 0:
        return 0.0
    inside = box_sums(score_map, union_rectangles(boxes)).sum()
    # The integral image subtracts large numbers, so rounding may give 1 + 1e-16.
    return float(np.clip(inside / total, 0, 1))
