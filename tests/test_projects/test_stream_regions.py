"""Regions of projects/streams: places, boxes of a proposer, and back to a map."""

from types import SimpleNamespace

import pytest
import torch

from eclip_mm.registry import TASK_UTILS


@pytest.fixture(scope='module', autouse=True)
def regions(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        import projects.streams.regions as regions

        yield regions


@TASK_UTILS.register_module(force=True)
class FixedBoxes:
    """The boxes that the picture's first pixel names."""

    boxes = {0: [[0, 0, 8, 4], [4, 2, 8, 4]], 1: [[2, 0, 6, 4]], 2: []}

    def __call__(self, sample, image):
        return torch.tensor(self.boxes[int(image[0, 0, 0])], dtype=torch.float64).view(-1, 4)


def test_places_of_patches(regions):
    tokens = torch.arange(12.0).view(1, 6, 2)
    found = regions.PatchRegions()(torch.full((1, 2), -1.0), tokens, (2, 3))
    torch.testing.assert_close(found.feats[0, 1:], tokens[0])
    assert found.feats[0, 0].tolist() == [-1, -1]
    assert found.places[0, 0].tolist() == [0, 0, 1, 1, 1]
    # the last patch of the first row, and the first one of the second row
    torch.testing.assert_close(found.places[0, 3], torch.tensor([2 / 3, 0, 1, 0.5, 1 / 6]))
    torch.testing.assert_close(found.places[0, 4], torch.tensor([0, 0.5, 1 / 3, 1, 1 / 6]))
    assert found.mask.all()
    torch.testing.assert_close(found.to_patches(tokens), tokens)


def test_boxes_by_hand(regions):
    """Pictures of 8 x 4 pixels and 4 x 2 patches of 2 pixels."""
    images = (torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 8) - 100) / 50
    tokens = torch.arange(8.0).view(1, 8, 1).repeat(3, 1, 1)
    model = regions.BoxRegions(dict(type='FixedBoxes'), num_regions=2)
    model.follow(SimpleNamespace(mean=torch.tensor(100.0), std=torch.tensor(50.0)))
    found = model(torch.zeros(3, 1), tokens, (2, 4), images)
    assert found.mask.tolist() == [[True] * 3, [True, True, False], [True, True, False]]
    # the whole picture; patches 6 and 7
    assert found.feats[0, 1:, 0].tolist() == pytest.approx([3.5, 6.5])
    # columns 1 and 2 of both rows; without a proposal, the whole picture
    assert found.feats[1, 1, 0] == pytest.approx((1 + 2 + 5 + 6) / 4)
    assert found.feats[2, 1, 0] == pytest.approx(3.5)
    torch.testing.assert_close(found.places[0, 2], torch.tensor([0.5, 0.5, 1, 1, 0.25]))
    # scores: 1 for the whole, 3 for the two patches, whose mean is 2; padding counts nowhere
    scores = torch.tensor([[1.0, 3.0], [5.0, 9.0], [0.0, 9.0]])
    patches = found.to_patches(scores[..., None]).view(3, 2, 4)
    torch.testing.assert_close(patches[0], torch.tensor([[1.0, 1, 1, 1], [1, 1, 2, 2]]))
    torch.testing.assert_close(patches[1], torch.tensor([[0.0, 5, 5, 0]] * 2))
    torch.testing.assert_close(patches[2], torch.zeros(2, 4))


def test_neighbours_of_hidden_regions(regions):
    boxes = torch.tensor([[[0, 0, 0.5, 1], [0.1, 0, 0.6, 1], [0.4, 0, 0.9, 1]]])
    hidden = torch.tensor([[True, False, False]])
    # IoU 0.4 / 0.6 with the second, 0.1 / 0.9 with the third
    found = regions.with_neighbours(hidden, regions.add_area(boxes))
    assert found.tolist() == [[True, True, False]]


def test_a_box_counts_a_patch_by_what_it_covers(regions):
    boxes = torch.tensor([[[0.0, 0.0, 0.75, 1.0]]])
    cover = regions.covered_part(boxes, regions.grid_boxes((1, 2), boxes))
    assert cover.tolist() == [[[1.0, 0.5]]]


def test_boxes_need_pictures(regions):
    model = regions.BoxRegions(dict(type='FixedBoxes'))
    with pytest.raises(ValueError, match='leave feature_cache out'):
        model(torch.zeros(1, 4), torch.zeros(1, 8, 4), (2, 4), torch.zeros(1, 8, 4))
