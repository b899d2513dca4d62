"""Detectors for COCO files of one's own: what the config leaves open follows from these."""

import json

import pytest
from mmengine.config import Config

from eclip_mm.config.detection import fill_architecture
from eclip_mm.config.loading import load_config
from eclip_mm.engine.detector_config import complete_detector
from helpers.detection import CONFIGS, coco

pytestmark = pytest.mark.ops


@pytest.fixture
def child(tmp_path):
    """Writes a child config and loads it with the architecture of the checkpoint."""
    (tmp_path / 'mine.json').write_text(json.dumps(coco()))

    def load(name: str, checkpoint: str, extra: str = '') -> Config:
        pretrained = f'init_cfg=dict(checkpoint={checkpoint!r})'
        model = pretrained if name == 'eclip_detr.py' else f'backbone=dict({pretrained})'
        data = f'dict(dataset=dict(ann_file={str(tmp_path / "mine.json")!r}))'
        path = tmp_path / 'child.py'
        path.write_text(
            f'_base_ = {str(CONFIGS / name)!r}\n'
            f'train_dataloader = {data}\nval_dataloader = {data}\nmodel = dict({model})\n{extra}'
        )
        cfg = load_config(str(path))
        fill_architecture(cfg.model)
        complete_detector(cfg)
        return cfg

    return load


def test_classes_names_and_evaluation_follow_from_the_files(child, with_tokenizer, tmp_path):
    cfg = child('eclip_detr.py', with_tokenizer[0])
    file = str(tmp_path / 'mine.json')
    assert cfg.model.bbox_head.num_classes == len(coco()['categories'])
    assert cfg.model.class_prompts == file
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == file
    assert cfg.test_dataloader == cfg.val_dataloader and cfg.test_cfg.type == 'TestLoop'


def test_strides_and_widths_follow_from_the_backbone(child, pretraining):
    """Patches of 8 pixels and width 32; the pyramid has twice, once and half the resolution."""
    cfg = child('retinanet_eclip.py', pretraining[0])
    assert cfg.model.neck.in_channels == 32
    assert cfg.model.bbox_head.anchor_generator.strides == [4, 8, 16]
    assert cfg.model.bbox_head.num_classes == len(coco()['categories'])


def test_what_is_set_stays(child, pretraining):
    extra = "model['bbox_head'] = dict(num_classes=7, anchor_generator=dict(strides=[2, 4, 8]))\n"
    cfg = child('retinanet_eclip.py', pretraining[0], extra)
    assert cfg.model.bbox_head.num_classes == 7
    assert cfg.model.bbox_head.anchor_generator.strides == [2, 4, 8]


def test_classes_of_a_detector_are_those_of_its_training(child, with_tokenizer):
    cfg = child('eclip_detr.py', with_tokenizer[0])
    cfg.model.bbox_head.num_classes = None
    complete_detector(cfg, dict(bbox_head=dict(num_classes=5)))
    assert cfg.model.bbox_head.num_classes == 5


def test_what_nothing_says_is_an_error(child, pretraining):
    with pytest.raises(ValueError, match='set train_dataloader.dataset.ann_file'):
        extra = 'train_dataloader = val_dataloader = None\n'
        child('retinanet_eclip.py', pretraining[0], extra)
    stock = "model['backbone'] = dict(_delete_=True, type='ResNet', depth=18)\n"
    with pytest.raises(ValueError, match="the backbone is 'ResNet': set it"):
        child('retinanet_eclip.py', pretraining[0], stock)
