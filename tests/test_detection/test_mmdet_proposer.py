"""Boxes of an mmdet detector as candidates of the grounding metric."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from eclip_mm.registry import TASK_UTILS

pytestmark = pytest.mark.ops

#: a stock RPN of mmdet, shrunk
OPTIONS = {
    'model.backbone.depth': 18,
    'model.neck.in_channels': [64, 128, 256, 512],
    'model.test_cfg.rpn.max_per_img': 50,
}


@pytest.fixture(scope='module')
def proposer(detection):
    import eclip_mm.evaluation.proposals.mmdet_proposer  # noqa: F401

    scope = DefaultScope.get_current_instance().scope_name
    torch.manual_seed(0)
    built = TASK_UTILS.build(
        dict(
            type='MMDetProposer',
            config='mmdet::rpn/rpn_r50_fpn_1x_coco.py',
            checkpoint=None,
            num_proposals=20,
            device='cpu',
            cfg_options={**OPTIONS, 'test_pipeline.1.scale': (96, 96),
                         'test_dataloader.dataset.pipeline.1.scale': (96, 96)},
        )
    )  # fmt: skip
    assert DefaultScope.get_current_instance().scope_name == scope
    return built


def test_boxes_are_pixels_of_the_picture_given(proposer):
    scope = DefaultScope.get_current_instance().scope_name
    image = torch.randint(0, 255, (3, 40, 64), dtype=torch.uint8)
    boxes = proposer({}, image)
    assert boxes.shape == (20, 4) and boxes.dtype == np.float64
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 64 and boxes[:, 3].max() <= 40
    assert boxes[:, 2].max() > 40  # of the whole width, and not of mmdet's 96-pixel copy
    assert DefaultScope.get_current_instance().scope_name == scope
    assert np.array_equal(boxes, proposer({}, image))


def test_it_sees_the_colours_as_they_are(proposer, monkeypatch):
    """RGB in, BGR to mmdet, whose data preprocessor turns it back."""
    seen = []
    monkeypatch.setattr(proposer, 'pipeline', lambda data: seen.append(data['img']) or _stop())
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[0] = 200  # red
    with pytest.raises(_Stop):
        proposer({}, image)
    assert seen[0][0, 0].tolist() == [0, 0, 200]


def test_no_picture(proposer):
    with pytest.raises(ValueError, match="product 'p7'"):
        proposer(dict(product_id='p7'), None)


class _Stop(Exception):
    pass


def _stop():
    raise _Stop
