"""Box arithmetic against pycocotools, pixel counting and numbers worked by hand."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from eclip_mm.evaluation.functional import (
    as_boxes,
    box_area,
    clip_boxes,
    pairwise_iou,
    union_area,
    union_rectangles,
)


def random_boxes(rng, num, size=20, integer=False):
    corners = rng.uniform(0, size, (num, 2, 2))
    corners = np.round(corners) if integer else corners
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def test_iou_by_hand():
    # 2x2 and 2x2 shifted by (1, 1): intersection 1, union 4 + 4 - 1 = 7.
    iou = pairwise_iou([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]])
    np.testing.assert_allclose(iou, [[1 / 7, 1, 0]])


def test_iou_equals_pycocotools():
    rng = np.random.default_rng(0)
    boxes1, boxes2 = random_boxes(rng, 30), random_boxes(rng, 40)

    def xywh(boxes):
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)

    expected = coco_mask.iou(xywh(boxes1), xywh(boxes2), np.zeros(40))
    np.testing.assert_allclose(pairwise_iou(boxes1, boxes2), expected, atol=1e-9)


def test_iou_of_nothing():
    assert pairwise_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert pairwise_iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]


def test_union_equals_painted_pixels():
    rng = np.random.default_rng(1)
    for num in range(6):
        boxes = random_boxes(rng, num, integer=True)
        painted = np.zeros((20, 20), bool)
        for x1, y1, x2, y2 in boxes.astype(int):
            painted[y1:y2, x1:x2] = True
        assert union_area(boxes) == painted.sum()
        again = np.zeros((20, 20), int)
        for x1, y1, x2, y2 in union_rectangles(boxes).astype(int):
            again[y1:y2, x1:x2] += 1
        assert again.max(initial=0) <= 1 and (again.astype(bool) == painted).all()


def test_clip_and_area():
    boxes = clip_boxes([[-5, -5, 3, 2], [30, 1, 40, 2]], (10, 20))
    assert boxes.tolist() == [[0, 0, 3, 2], [20, 1, 20, 2]]
    assert box_area(boxes).tolist() == [6, 0]


@pytest.mark.parametrize(
    'boxes, words',
    [
        ([[10, 10, 5, 20]], 'xywh'),
        ([[0, 0, np.nan, 1]], 'finite'),
        ([[0, 0, 1]], r'\(K, 4\)'),
    ],
)
def test_bad_boxes_are_named(boxes, words):
    with pytest.raises(ValueError, match=words):
        as_boxes(boxes)
