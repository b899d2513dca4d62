"""Configs, pictures and COCO files for the tests of detection."""

import copy
from pathlib import Path

import torch
from mmengine.config import Config

from eclip_mm.config.detection import fill_architecture
from eclip_mm.config.loading import load_config

ROOT = Path(__file__).resolve().parents[2]
NAMES = ('red enamel mug', 'blue mug', 'tea pot', 'oat milk')
CONFIGS = ROOT / 'configs/detection'
#: for COCO files of one's own: what they leave open follows from these and a checkpoint
OPEN = ['eclip_detr.py', 'retinanet_eclip.py']
FILES = sorted(path.name for path in CONFIGS.glob('*.py') if path.name not in OPEN)
STOCK = ['retinanet_tiny_snacks.py']  # references without a component of ours
SCRATCH = [name for name in FILES if name.endswith('_scratch.py')]
OURS = [name for name in FILES if name not in STOCK]
#: what the files say they are pretrained by
PRETRAINING = {
    'tiny_snacks': 'demo/eclip_tiny_snacks.py',
    'tiny_synthetic': 'demo/eclip_tiny_synthetic.py',
    'vitb16': 'eclip_vitb16.py',
}
PATCHES = {'tiny_snacks': 12, 'tiny_synthetic': 8, 'vitb16': 16}


def load(name: str, checkpoints: dict[str, str]) -> Config:
    """A config with the architecture of the pretraining in its name."""
    cfg = load_config(str(CONFIGS / name))
    if name in STOCK or name in SCRATCH:
        return cfg
    checkpoint = next(path for key, path in checkpoints.items() if key in name)
    part = cfg.model if 'init_cfg' in cfg.model else cfg.model.backbone
    part.init_cfg.checkpoint = checkpoint
    fill_architecture(cfg.model)
    return cfg


def detr_config(checkpoint=None, **overrides):
    """An EclipDETR for 3 classes, its parts from a pretraining checkpoint."""
    import eclip_mm.models.detection  # noqa: F401

    cfg = dict(
        type='eclip_mm.EclipDETR',
        num_queries=6,
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=1),
        backbone=dict(type='eclip_mm.EclipBackbone'),
        bbox_head=dict(type='eclip_mm.EclipDETRHead', num_classes=3),
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner',
                match_costs=[
                    dict(type='ClassificationCost', weight=1.0),
                    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                    dict(type='IoUCost', iou_mode='giou', weight=2.0),
                ],
            )
        ),
        test_cfg=dict(max_per_img=6),
    )
    if checkpoint:
        cfg['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint)
    cfg.update(overrides)
    return cfg


def build_detector(cfg):
    """A detector with initialised weights."""
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(copy.deepcopy(cfg))
        model.init_weights()
    return model


def prepared(model, data):
    """A batch as the model's loss takes it."""
    return model.data_preprocessor(data, training=True)


def batch(sizes=((40, 48), (32, 33)), padded=None):
    """Uniform noise with one box a picture: the left half."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    inputs, samples = [], []
    for height, width in sizes:
        generator = torch.Generator().manual_seed(height)
        image = torch.rand(3, height, width, generator=generator)
        inputs.append(image)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0),
                batch_input_shape=padded,
            )
        )  # fmt: skip
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[0.0, 0.0, width / 2, height]]), labels=torch.tensor([1])
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def coco(**changes):
    """Two images of 40 x 30, two categories, three good boxes."""
    data = dict(
        images=[dict(id=k, file_name=f'{k}.png', width=40, height=30) for k in (1, 2)],
        categories=[dict(id=7, name='chips'), dict(id=3, name='wafer')],
        annotations=[
            dict(id=1, image_id=1, category_id=7, bbox=[0, 0, 10, 10], area=100, iscrowd=0),
            dict(id=2, image_id=1, category_id=3, bbox=[20, 10, 20, 20], area=400, iscrowd=0),
            dict(id=3, image_id=2, category_id=7, bbox=[-5, 5, 15, 10], area=150, iscrowd=0),
        ],
    )
    for key, value in changes.items():
        data[key] = data[key] + value
    return data
