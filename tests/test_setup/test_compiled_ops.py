"""mmcv's compiled ops and mmdet, as `tools/setup_env.sh --det` installs them."""

import pytest
import torch

from eclip_mm.utils.env_check import EnvironmentCheckError, check_detection

pytestmark = pytest.mark.ops


@pytest.fixture(scope='module', autouse=True)
def detection():
    try:
        check_detection()
    except EnvironmentCheckError as error:
        pytest.skip(str(error))


def test_nms_by_hand():
    from mmcv.ops import nms

    # The second overlaps the first with IoU 80 / 120 = 2/3, the third touches nothing.
    boxes = torch.tensor([[0, 0, 10, 10], [2, 0, 12, 10], [20, 20, 30, 30]], dtype=torch.float32)
    scores = torch.tensor([0.9, 0.8, 0.7])
    _, kept = nms(boxes, scores, iou_threshold=0.6)
    assert kept.tolist() == [0, 2]
    _, kept = nms(boxes, scores, iou_threshold=0.7)
    assert kept.tolist() == [0, 1, 2]


def test_roi_align_by_hand():
    from mmcv.ops import roi_align

    # Bilinear sampling of a ramp is exact: the mean over x in [2, 4) of f(x, y) = x at pixel
    # centres (aligned: x - 0.5) is 2.5.
    ramp = torch.arange(8, dtype=torch.float32).expand(1, 1, 8, 8).contiguous()
    rois = torch.tensor([[0, 2, 2, 4, 4]], dtype=torch.float32)
    assert roi_align(ramp, rois, (1, 1), 1.0, 2, 'avg', True).item() == pytest.approx(2.5)


def test_a_config_reaches_mmdet_and_its_bases(tmp_path):
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    from eclip_mm.registry import MODELS

    config = tmp_path / 'child.py'
    config.write_text(
        "_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py']\n"
        'model = dict(backbone=dict(depth=18, init_cfg=None),\n'
        '             neck=dict(in_channels=[64, 128, 256, 512]))\n'
    )
    register_all_modules(init_default_scope=False)
    model = dict(Config.fromfile(config).model, _scope_='mmdet')
    detector = MODELS.build({**model, 'type': 'mmdet.RPN'}).eval()
    assert detector.backbone.depth == 18
    with torch.no_grad():
        levels = detector.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape[-2:]) for level in levels] == [
        (16, 16), (8, 8), (4, 4), (2, 2), (1, 1)
    ]  # fmt: skip
