"""Grounding arithmetic worked by hand, against a fine raster, and its symmetries."""

import numpy as np
import pytest
import torch

from eclip_mm.evaluation.functional import (
    box_sums,
    energy_inside,
    peak_points,
    pointing_chance,
    pointing_hit,
    right_box_chance,
    right_candidates,
    score_boxes,
    top1_box,
    upsample_score_map,
)


def test_box_sums_by_hand():
    score_map = [[1, 2], [3, 4]]
    boxes = [[0, 0, 2, 2], [1, 0, 2, 1], [0.5, 0.5, 1.5, 1.5], [-9, 1.25, 0.5, 9], [1, 1, 1, 2]]
    # a quarter of each pixel; three quarters x half of pixel 3; nothing
    np.testing.assert_allclose(box_sums(score_map, boxes), [10, 2, 2.5, 3 * 0.75 * 0.5, 0])


def test_box_sums_equal_a_fine_raster():
    rng = np.random.default_rng(0)
    score_map, fine = rng.random((6, 9)), 8
    raster = np.repeat(np.repeat(score_map, fine, 0), fine, 1) / fine**2
    for _ in range(20):
        x = np.sort(rng.integers(0, 9 * fine + 1, 2))
        y = np.sort(rng.integers(0, 6 * fine + 1, 2))
        box = [[x[0] / fine, y[0] / fine, x[1] / fine, y[1] / fine]]
        np.testing.assert_allclose(
            box_sums(score_map, box)[0], raster[y[0] : y[1], x[0] : x[1]].sum(), atol=1e-9
        )


def test_score_and_top1_by_hand():
    score_map = np.zeros((4, 4))
    score_map[1:3, 1:3] = 1  # sum 4 in a 2 x 2 square
    boxes = [[0, 0, 4, 4], [1, 1, 3, 3], [1, 1, 2, 2], [2, 2, 2, 2]]
    # sum / sqrt(area): 4 / 4, 4 / 2, 1 / 1, no area
    np.testing.assert_allclose(score_boxes(score_map, boxes), [1, 2, 1, 0])
    np.testing.assert_allclose(score_boxes(score_map, boxes, alpha=0), [4, 4, 1, 0])
    np.testing.assert_allclose(score_boxes(score_map, boxes, alpha=1), [0.25, 1, 1, 0])
    assert top1_box(score_map, boxes) == 1
    assert top1_box(score_map, boxes, alpha=0) == 0, 'of equal scores the lowest index'
    with pytest.raises(ValueError, match='no candidate'):
        top1_box(score_map, [])


def test_only_the_area_inside_the_picture_counts():
    score_map = np.ones((4, 4))
    np.testing.assert_allclose(score_boxes(score_map, [[-4, 0, 4, 4], [0, 0, 4, 4]]), [4, 4])


def test_upsampling_keeps_nodes_and_constants():
    score_map = np.arange(6.0).reshape(2, 3)
    up = upsample_score_map(score_map, (10, 15))
    assert up.shape == (10, 15)
    # odd factor 5: the centre of patch (r, c) is the centre of pixel (5r + 2, 5c + 2)
    np.testing.assert_allclose(up[2::5, 2::5], score_map, atol=1e-12)
    np.testing.assert_allclose(up[2, 2:8], np.linspace(0, 1, 6), atol=1e-12)
    np.testing.assert_allclose(upsample_score_map(np.full((3, 3), 0.7), (7, 5)), 0.7)
    assert upsample_score_map(torch.ones(2, 2), (4, 4)).dtype == np.float64


def test_peak_is_the_maximum_of_the_upsampled_map():
    rng = np.random.default_rng(3)
    for _ in range(10):
        score_map = rng.random((4, 5))
        up = upsample_score_map(score_map, (4 * 7, 5 * 7))
        x, y = peak_points(score_map, up.shape)[0]
        assert up[int(y), int(x)] == up.max()


def test_pointing_by_hand():
    score_map = np.zeros((2, 2))
    score_map[0, 1] = 1  # its centre in a 40 x 80 (h x w) picture: x = 60, y = 10
    assert pointing_hit(score_map, [[50, 5, 70, 15]], (40, 80)) == 1
    assert pointing_hit(score_map, [[0, 0, 59, 40]], (40, 80)) == 0
    assert pointing_hit(score_map, [[0, 0, 60, 10]], (40, 80)) == 1, 'the edge belongs to the box'
    assert pointing_hit(score_map, [[0, 0, 5, 5], [50, 5, 70, 15]], (40, 80)) == 1
    assert pointing_hit(score_map, [], (40, 80)) == 0


def test_tied_peaks_score_the_fraction_inside():
    saturated = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert pointing_hit(saturated, [[0, 0, 4, 2]], (4, 4)) == pytest.approx(2 / 3)
    # a constant map scores the chance of the box if the box consists of whole patches
    assert pointing_hit(np.ones((4, 4)), [[0, 0, 4, 8]], (8, 8)) == 0.5
    assert pointing_chance([[0, 0, 4, 8]], (8, 8)) == 0.5


def test_pointing_does_not_prefer_a_side():
    rng = np.random.default_rng(4)
    for _ in range(20):
        score_map = rng.integers(0, 3, (4, 4)).astype(float)  # many ties
        x1, y1 = rng.uniform(0, 4, 2)
        hit = pointing_hit(score_map, [[x1, y1, x1 + 4, y1 + 4]], (8, 8))
        flipped = pointing_hit(score_map[:, ::-1], [[4 - x1, y1, 8 - x1, y1 + 4]], (8, 8))
        assert hit == flipped


def test_energy_by_hand():
    score_map = np.array([[1.0, 1.0], [2.0, 0.0]])
    assert energy_inside(score_map, [[0, 0, 1, 2]]) == 0.75
    overlapping = [[0, 0, 1, 2], [0, 0, 1, 1], [0, 1, 0.5, 2]]
    assert energy_inside(score_map, overlapping) == 0.75, 'nothing counts twice'
    assert energy_inside(score_map, [[-5, -5, 9, 9]]) == 1
    assert energy_inside(score_map, []) == 0
    assert energy_inside(np.zeros((2, 2)), [[0, 0, 1, 1]]) == 0
    with pytest.raises(ValueError, match='non-negative'):
        energy_inside(-score_map, [[0, 0, 1, 1]])


def test_constant_map_has_the_chance_energy():
    boxes = [[1, 2, 5, 6.5], [3, 3, 8, 8]]
    assert energy_inside(np.ones((10, 10)), boxes) == pytest.approx(
        pointing_chance(boxes, (10, 10))
    )


def test_right_candidates_and_chance():
    right = right_candidates([[0, 0, 2, 2], [0, 0, 2, 4], [5, 5, 6, 6]], [[0, 0, 2, 2]], 0.5)
    assert right.tolist() == [True, True, False]  # IoU 1, exactly 0.5, 0
    assert right_box_chance(right) == pytest.approx(2 / 3)
    assert right_box_chance([]) == 0
    assert right_candidates([], [[0, 0, 2, 2]], 0.5).tolist() == []


def test_bad_maps_are_named():
    with pytest.raises(ValueError, match='not finite'):
        upsample_score_map([[np.nan]], (2, 2))
    with pytest.raises(ValueError, match=r'\(h, w\)'):
        peak_points(np.ones((1, 2, 2)), (2, 2))
