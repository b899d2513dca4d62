"""configs/detection/grounding: grounding among the proposals of an RPN of configs/detection."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from eclip_mm.registry import METRICS
from helpers.detection import CONFIGS, load

pytestmark = pytest.mark.ops
SPLITS = dict(snacks={'val'}, synthetic={'photos', 'products'})


@pytest.fixture(params=sorted(SPLITS))
def name(request):
    return request.param


@pytest.fixture
def trained_rpn(name, checkpoints, tmp_path, monkeypatch):
    """A work dir as the RPN's training leaves it, after which its own start is gone."""
    from mmdet.registry import MODELS

    monkeypatch.setenv('ECLIP_MM_DATA', str(tmp_path / 'gone'))
    cfg = load(f'rpn_eclip_tiny_{name}.py', checkpoints)
    cfg.model.backbone.init_cfg.checkpoint = 'gone.pth'
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    cfg.dump(tmp_path / f'rpn_eclip_tiny_{name}.py')
    meta = dict(dataset_meta=dict(classes=('product',)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'epoch_12.pth')
    monkeypatch.setenv('RPN', str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where there is nothing of the data that it was trained on


def test_every_proposer_is_measured_on_the_same_photos(name, trained_rpn):
    cfg = Config.fromfile(CONFIGS / 'grounding' / f'{name}.py')
    kinds = {(metric.type, metric.prefix) for metric in cfg.test_evaluator}
    assert len(kinds) == len(cfg.test_evaluator), 'two metrics would write one figure'
    for split in SPLITS[name]:
        for among in ('_regions', '_map_boxes', '_rpn'):
            wanted = {('ProductGrounding', split + by + among) for by in ('', '_image_prompt')}
            assert wanted | {('CandidateRecall', split + among)} <= kinds

    score_map = np.zeros((8, 8))
    score_map[2:4, 2:4] = 1
    sample = dict(
        img_shape=(64, 64), gt_bboxes=[[16, 16, 32, 32]], product_id='p', pred_score_map=score_map
    )
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    split = min(SPLITS[name])
    rpn, among_rpn = (
        METRICS.build(next(m for m in cfg.test_evaluator if m.type == kind and m.prefix == prefix))
        for kind, prefix in (
            ('CandidateRecall', f'{split}_rpn'),
            ('ProductGrounding', f'{split}_rpn'),
        )
    )
    found = rpn.describe_sample(sample, image)['found']
    assert 10 < len(found) <= 100 and found.max() <= 64
    assert among_rpn.describe_sample(sample, image)['num_candidates'] > 10


def test_the_rpn_learns_from_pictures_as_grounding_sees_them(name):
    rpn = Config.fromfile(CONFIGS / f'rpn_eclip_tiny_{name}.py')
    demo = Config.fromfile(CONFIGS.parent / f'demo/eclip_tiny_{name}.py')
    (size,) = (t['size'] for t in demo.test_pipeline if t['type'] == 'Resize')
    resize = next(t for t in rpn.train_dataloader.dataset.pipeline if t.type == 'Resize')
    assert tuple(resize.scale) == (size, size) and not resize.keep_ratio
    tested = next(t for t in rpn.test_dataloader.dataset.pipeline if t.type == 'Resize')
    assert tuple(tested.scale) == (2 * size, 2 * size) and not tested.keep_ratio
    assert rpn.test_evaluator.type == 'eclip_mm.ProposalRecall'
    assert rpn.test_evaluator.ann_file.endswith('.json')
