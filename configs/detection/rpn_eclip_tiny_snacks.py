# Class-agnostic proposals on the demo's encoder: for grounding, see MMDetProposer.
# Recall of the first 10, 50 and 100 proposals at IoU 0.5 and 0.7.
_base_ = [
    'mmdet::_base_/models/rpn_r50_fpn.py',
    '_base_/coco_products.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, pad_size_divisor=1),
    backbone=dict(
        _delete_=True,
        type='eclip_mm.EclipBackbone',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/eclip_tiny_snacks/last.pth'),
    ),
    neck=dict(_delete_=True, type='eclip_mm.SimpleFPN', in_channels=128, out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(strides=[3, 6, 12, 24, 48]),
    ),
    test_cfg=dict(rpn=dict(max_per_img=100)),
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
custom_imports = dict(
    imports=[
        'eclip_mm.models.detection',
        'eclip_mm.datasets.detection',
        'eclip_mm.evaluation.metrics.detection_recall',
    ]
)
val_evaluator = dict(type='eclip_mm.ProposalRecall')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='proposals/recall@0.5/100'))
