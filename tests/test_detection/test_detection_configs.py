"""Every file of configs/detection: it parses, builds from its pretraining's config, and trains."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from eclip_mm.config.detection import draw_detections, fill_architecture
from eclip_mm.config.loading import load_config
from eclip_mm.utils.config_text import ConfigTextError
from helpers.detection import CONFIGS, FILES, OURS, PATCHES, SCRATCH, STOCK, batch, load

pytestmark = pytest.mark.ops


@pytest.mark.parametrize('name', FILES)
def test_it_builds(name, checkpoints):
    from mmdet.registry import MODELS

    cfg = load(name, checkpoints)
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    assert cfg.default_scope == 'mmdet'
    num_classes = {'synthetic': 64, 'coco': 80}.get(Path(name).stem.split('_')[-1], 19)
    head = getattr(model, 'bbox_head', None) or model
    if hasattr(model, 'roi_head'):
        head = model.roi_head.bbox_head
    if 'rpn' not in name:
        assert head.num_classes == num_classes
    if name in OURS:
        patch = next(p for key, p in PATCHES.items() if key in name)
        assert model.backbone.strides == (patch,)


@pytest.mark.parametrize('name', [n for n in OURS if not n.startswith('eclip_detr')])
def test_anchors_fit_the_strides(name, checkpoints):
    cfg = load(name, checkpoints)
    stride = cfg.model.backbone.encoder.config.patch_size
    scales = cfg.model.neck.get('scales', (4, 2, 1, 0.5))
    num_outs = cfg.model.neck.get('num_outs', 5)
    wanted = [stride / scale for scale in (*scales, scales[-1] / 2)][:num_outs]
    head = cfg.model.get('rpn_head') or cfg.model.bbox_head
    assert head.anchor_generator.strides == wanted
    if 'roi_head' in cfg.model:
        assert cfg.model.roi_head.bbox_roi_extractor.featmap_strides == wanted[: len(scales)]


@pytest.mark.parametrize('name', [n for n in FILES if 'tiny' in n])
def test_a_step_and_a_prediction(name, checkpoints):
    from mmdet.registry import MODELS

    cfg = load(name, checkpoints)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        data = model.data_preprocessor(batch(((96, 100), (80, 96))), training=True)
        losses = model.loss(data['inputs'], data['data_samples'])
        loss, _ = model.parse_losses(losses)
        loss.backward()
        assert loss.isfinite()
        first = next(model.backbone.parameters())
        assert first.grad.abs().sum() > 0  # of the position embeddings, or the first convolution
        model.eval()
        with torch.no_grad():
            samples = model.predict(data['inputs'], data['data_samples'])
    assert len(samples) == 2 and samples[0].pred_instances.bboxes.shape[1] == 4


@pytest.mark.parametrize('name', STOCK)
def test_a_stock_reference_has_nothing_of_ours_and_no_pretraining(name):
    import torch.nn
    from mmdet.registry import MODELS
    from mmengine.optim import build_optim_wrapper

    cfg = load_config(str(CONFIGS / name))
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert not [part for part in model.modules() if type(part).__module__.startswith('eclip_mm')]
    assert 'checkpoint' not in str(cfg.model)
    norms = [part for part in model.train().modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms and all(norm.training and norm.weight.requires_grad for norm in norms)
    assert {group['lr'] for group in optimizer.param_groups} == {cfg.optim_wrapper.optimizer.lr}
    learned = {id(p) for group in optimizer.param_groups for p in group['params']}
    assert learned == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('scratch', SCRATCH)
def test_without_pretraining_it_is_the_same_detector(scratch, checkpoints):
    from mmdet.registry import MODELS

    found = []
    for name in (scratch.replace('_scratch', ''), scratch):
        cfg = load(name, checkpoints)
        with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
            state = MODELS.build(cfg.model).state_dict()
        rest = {k: v for k, v in cfg.items() if k not in ('model', 'filename', 'encoder')}
        model = cfg.model.to_dict()
        encoder = model['backbone'].pop('encoder')
        for part in (model, model['backbone']):
            for key in ('init_cfg', 'class_prompts'):
                part.pop(key, None)
        model.pop('decoder', None)  # the checkpoint's says more; its shapes are compared
        shapes = {key: value.shape for key, value in state.items()}
        found.append((shapes, model, {k: v for k, v in encoder.items() if v is not None}, rest))
    for with_pretraining, without in zip(*found, strict=True):
        assert with_pretraining == without
    assert 'checkpoint' not in str(cfg.model)


def test_the_filled_config_stands_for_itself(checkpoints, tmp_path):
    cfg = load('eclip_detr_tiny_snacks.py', checkpoints)
    saved = Config.fromstring(cfg.pretty_text, '.py').model
    assert saved.decoder.num_blocks == 1 and saved.num_extra_blocks == 1
    again = load_config(str(CONFIGS / 'eclip_detr_tiny_snacks.py')).model
    again.init_cfg.checkpoint = str(tmp_path / 'gone.pth')
    fill_architecture(again, saved)
    assert again.backbone.encoder == saved.backbone.encoder and again.decoder == saved.decoder
    # what a stranger's file names is looked up among registered components only
    saved.backbone.encoder.type = 'os.system'
    again.backbone.encoder = None
    with pytest.raises(ConfigTextError, match='os.system'):
        fill_architecture(again, saved)


def test_show_dir(checkpoints):
    cfg = load('eclip_detr_tiny_snacks.py', checkpoints)
    draw_detections(cfg, 'found')
    assert cfg.default_hooks.visualization.test_out_dir == 'found'
    with pytest.raises(KeyError, match='DetVisualizationHook'):
        draw_detections(Config(dict(default_hooks={})), 'found')
