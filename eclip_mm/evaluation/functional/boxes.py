"""Arithmetic of axis-aligned boxes: area, overlap, union.

A box is always (x1, y1, x2, y2) in pixels with continuous edges: the box
(0, 0, 2, 1) covers exactly the first two pixels of the first row, and its area
is 2. All results are float64.
"""

import numpy as np


def as_boxes(boxes) -> np.ndarray:
    """Convert boxes to one form and check them.

    Args:
        boxes: (K, 4) xyxy pixels; may be an empty list.

    Returns:
        (K, 4) float64.

    Raises:
        ValueError: the shape is not (K, 4), a value is not finite, or x2 < x1
            or y2 < y1 (as in a box given as xywh).
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes are (K, 4) xyxy, got an array of shape {boxes.shape}')
    bad = ~np.isfinite(boxes).all(1) | (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f'box {row} is not finite xyxy with x1 <= x2, y1 <= y2: '
            f'{boxes[row].tolist()}; is it xywh?'
        )
    return boxes


def box_area(boxes) -> np.ndarray:
    """Area of each box.

    Args:
        boxes: (K, 4) xyxy pixels.

    Returns:
        (K,) square pixels.
    """
    boxes = as_boxes(boxes)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def pairwise_iou(boxes1, boxes2) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        boxes1: (K, 4) xyxy pixels.
        boxes2: (G, 4) xyxy pixels.

    Returns:
        (K, G) in [0, 1]; 0 where both boxes have no area.
    """
    boxes1, boxes2 = as_boxes(boxes1), as_boxes(boxes2)
    low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    union = box_area(boxes1)[:, None] + box_area(boxes2)[None] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def clip_boxes(boxes, img_shape) -> np.ndarray:
    """Cut boxes at the border of the picture.

    Args:
        boxes: (K, 4) xyxy pixels.
        img_shape: (height, width) in pixels.

    Returns:
        (K, 4); a box that lies outside has no area afterwards.
    """
    height, width = img_shape
    return np.clip(as_boxes(boxes), 0, [width, height, width, height])


def visible_boxes(boxes, img_shape) -> np.ndarray:
    """Cut boxes at the border of the picture and drop those that have no area left.

    Args:
        boxes: (K, 4) xyxy pixels; None counts as no box.
        img_shape: (height, width) in pixels.

    Returns:
        (V, 4), V <= K, in the order of ``boxes``.
    """
    boxes = clip_boxes([] if boxes is None else boxes, img_shape)
    return boxes[box_area(boxes) > 0]


def union_rectangles(boxes) -> np.ndarray:
    """Cut the union of boxes into rectangles that do not overlap.

    The edges of all boxes span a grid, and the cells of this grid that lie in
    a box are returned. A sum over them counts no area twice.

    Args:
        boxes: (K, 4) xyxy pixels, overlapping or not.

    Returns:
        (R, 4) xyxy pixels, R <= (2K - 1)^2.
    """
    boxes = as_boxes(boxes)
    xs, ys = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    if len(xs) < 2 or len(ys) < 2:
        return np.zeros((0, 4))
    x1, y1 = np.meshgrid(xs[:-1], ys[:-1])
    x2, y2 = np.meshgrid(xs[1:], ys[1:])
    cells = np.stack([x1, y1, x2, y2], -1).reshape(-1, 4)
    covered = (
        ((cells[:, None, :2] >= boxes[None, :, :2]) & (cells[:, None, 2:] <= boxes[None, :, 2:]))
        .all(-1)
        .any(1)
    )
    return cells[covered]


def union_area(boxes) -> float:
    """Area of the union of boxes.

    Args:
        boxes: (K, 4) xyxy pixels.

    Returns:
        Square pixels.
    """
    return float(box_area(union_rectangles(boxes)).sum())
