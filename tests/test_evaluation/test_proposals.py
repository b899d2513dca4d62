"""Candidate boxes: regions of the picture, parts of the score map, a user's own."""

import numpy as np
import pytest
import torch

from eclip_mm.evaluation.functional import pairwise_iou
from eclip_mm.evaluation.proposals.recall import proposal_recall
from eclip_mm.evaluation.proposals.region_grouping import (
    colour_histograms,
    group_regions,
    neighbours,
    region_boxes,
)
from eclip_mm.evaluation.proposals.region_proposer import watershed_regions
from eclip_mm.registry import METRICS, TASK_UTILS
from helpers.samples import grounding_sample, run


def picture(height=64, width=64, box=(10, 20, 34, 44), seed=0):
    """(3, H, W) a red square on noisy grey."""
    rng = np.random.default_rng(seed)
    array = rng.integers(110, 140, (height, width, 3)).astype(np.uint8)
    x1, y1, x2, y2 = box
    array[y1:y2, x1:x2] = [200, 30, 30]
    return torch.from_numpy(array).permute(2, 0, 1)


class TestGrouping:
    # columns: 0 is red, 1 and 2 are blue
    labels = np.array([[0, 1, 2, 2], [0, 1, 2, 2]])
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 0, 0] = 250
    image[:, 1:, 2] = 250

    def test_boxes_neighbours_and_colours_by_hand(self):
        assert region_boxes(self.labels).tolist() == [[0, 0, 1, 2], [1, 0, 2, 2], [2, 0, 4, 2]]
        assert neighbours(self.labels) == {(0, 1), (1, 2)}
        histograms = colour_histograms(self.labels, self.image)
        assert histograms.sum(1).tolist() == pytest.approx([1, 1, 1])
        shared = [np.minimum(histograms[1], histograms[k]).sum() for k in (0, 2)]
        assert shared == pytest.approx([1 / 3, 1])  # green alone; all three

    def test_the_alike_merge_first_and_the_whole_stands_first(self):
        boxes = group_regions(self.labels, self.image)
        assert boxes.tolist() == [
            [0, 0, 4, 2],
            [1, 0, 4, 2],  # blue and blue
            [2, 0, 4, 2],  # the regions, the largest first
            [0, 0, 1, 2],
            [1, 0, 2, 2],
        ]
        by_size = group_regions(self.labels, self.image, use_colour=False)
        assert by_size[1].tolist() == [0, 0, 2, 2], 'the two small ones'

    def test_one_region_is_one_box(self):
        assert group_regions(np.zeros((3, 5), int), np.zeros((3, 5, 3), np.uint8)).tolist() == [
            [0, 0, 5, 3]
        ]


def test_regions_keep_to_edges():
    array = np.full((64, 96, 3), 30, np.uint8)
    array[:, 37:] = 220
    labels = watershed_regions(array, 12)
    assert labels.shape == (64, 96) and np.unique(labels).tolist() == list(range(labels.max() + 1))
    assert 20 <= labels.max() + 1 <= 40  # 5 x 8 cells
    left, right = set(labels[:, :36].ravel()), set(labels[:, 38:].ravel())
    assert not left & right


@pytest.mark.parametrize('shape', [(64, 64), (80, 48), (33, 97)])
def test_an_object_is_found_and_always_the_same(shape):
    image = picture(*shape, box=(10, 5, 34, 27))
    proposer = TASK_UTILS.build(dict(type='RegionProposer'))
    boxes = proposer({}, image)
    assert pairwise_iou(boxes, [[10, 5, 34, 27]]).max() > 0.8
    assert all(np.array_equal(boxes, proposer({}, image.clone())) for _ in range(10))
    assert (boxes >= 0).all() and (boxes <= [shape[1], shape[0]] * 2).all()


def test_limits_of_region_boxes():
    proposer = TASK_UTILS.build(
        dict(type='RegionProposer', num_proposals=30, min_side=0.2, max_area=0.5, max_overlap=0.6)
    )
    boxes = proposer({}, picture(80, 60))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert 5 < len(boxes) <= 30
    assert (sides >= [12, 16]).all() and (sides.prod(1) <= 0.5 * 80 * 60).all()
    overlaps = pairwise_iou(boxes, boxes)
    assert (overlaps[~np.eye(len(boxes), dtype=bool)] <= 0.6).all()
    few = TASK_UTILS.build(dict(type='RegionProposer', num_proposals=3))({}, picture())
    many = TASK_UTILS.build(dict(type='RegionProposer'))({}, picture())
    assert np.array_equal(few, many[:3]), 'the number only cuts the list'


def test_a_region_proposer_needs_a_picture_and_sane_limits():
    with pytest.raises(ValueError, match="picture of product 'a'"):
        run(
            dict(type='ProductGrounding', candidates=dict(type='RegionProposer')),
            [grounding_sample([[1, 0]], [[0, 0, 4, 8]], [])],
        )
    with pytest.raises(ValueError, match='work_size >= 4'):
        TASK_UTILS.build(dict(type='RegionProposer', cells=40))


class TestScoreMap:
    # peaks of 1 and 0.6, apart; nearest-neighbour upsampling is none: the map has picture size
    map = torch.zeros(8, 8)
    map[1:3, 1:4] = 0.5
    map[1, 1] = 1.0
    map[5:8, 6:8] = 0.6

    def propose(self, score_map, **config):
        proposer = TASK_UTILS.build(dict(type='ScoreMapProposer', **config))
        return proposer(dict(product_id='a', img_shape=(8, 8), pred_score_map=score_map)).tolist()

    def test_boxes_by_hand(self):
        assert self.propose(self.map, thresholds=(0.4,)) == [
            [6, 5, 8, 8],  # sum 3.6
            [1, 1, 4, 3],  # sum 3.5
        ]
        assert self.propose(self.map, thresholds=(0.55,)) == [[6, 5, 8, 8], [1, 1, 2, 2]]
        every = self.propose(self.map, thresholds=(0.4, 0.55, 0.9))
        assert every == [[6, 5, 8, 8], [1, 1, 4, 3], [1, 1, 2, 2]], 'each box once'
        assert self.propose(self.map, thresholds=(0.4, 0.55, 0.9), max_boxes=2) == every[:2]

    def test_shares_of_the_peak_do_not_depend_on_its_height(self):
        assert self.propose(0.01 * self.map) == self.propose(self.map)

    def test_an_empty_map_gives_none(self):
        assert self.propose(torch.zeros(2, 2)) == []
        assert self.propose(torch.ones(2, 2)) == [[0, 0, 8, 8]]

    def test_another_map_can_be_named(self):
        proposer = TASK_UTILS.build(
            dict(type='ScoreMapProposer', score_map='pred_image_prompt_map', thresholds=(0.9,))
        )
        sample = dict(product_id='a', img_shape=(8, 8), pred_image_prompt_map=self.map)
        assert proposer(sample).tolist() == [[1, 1, 2, 2]]
        with pytest.raises(KeyError, match="'a' has no field 'pred_image_prompt_map'"):
            proposer(dict(product_id='a', img_shape=(8, 8), pred_score_map=self.map))
        with pytest.raises(ValueError, match='thresholds'):
            TASK_UTILS.build(dict(type='ScoreMapProposer', thresholds=(0, 0.5)))

    def test_candidates_of_another_map_are_refused(self):
        config = dict(type='ProductGrounding', score_map='pred_image_prompt_map')
        with pytest.raises(ValueError, match="cut from 'pred_score_map'"):
            METRICS.build(dict(config, candidates=dict(type='ScoreMapProposer')))


def test_both_kinds_in_the_metric():
    """If the map's peak is on the object, candidates of both kinds contain the right box."""
    score_map = np.zeros((8, 8))
    score_map[2:6, 1:5] = 1  # the object, 8 px a patch
    element = grounding_sample(score_map, [[8, 16, 40, 48]], [])
    element.set_metainfo(dict(img_shape=(64, 64)))
    images = picture(box=(8, 16, 40, 48))[None, None]
    metrics = [
        dict(type='ProductGrounding', prefix=kind, candidates=dict(type=kind))
        for kind in ('RegionProposer', 'ScoreMapProposer')
    ]
    figures = run(metrics, [element], data_batch=dict(inputs=dict(images=images)))
    for kind in ('RegionProposer', 'ScoreMapProposer'):
        assert figures[f'{kind}/acc@0.5'] == figures[f'{kind}/acc@0.7'] == 1
        assert figures[f'{kind}/mean_candidates'] > 1
    assert figures['RegionProposer/acc@0.7_chance'] < 0.2


def test_recall_by_hand():
    photos = [
        # the second proposal has IoU 0.5 with the first box; none is near the second box
        ([[5, 5, 6, 6], [0, 0, 2, 4]], [[0, 0, 2, 2], [7, 0, 8, 1]], (8, 8)),
        ([[0, 0, 4, 4]], [[0, 0, 4, 4], [9, 9, 12, 12]], (8, 8)),  # one box lies outside
        ([], [[0, 0, 1, 1]], (8, 8)),
    ]
    recall = proposal_recall(photos, (0.5, 0.7), (1, 2))
    assert recall.tolist() == [[1 / 4, 2 / 4], [1 / 4, 1 / 4]]
    with pytest.raises(ValueError, match='no annotated box'):
        proposal_recall([([], [], (8, 8))], (0.5,), (1,))
