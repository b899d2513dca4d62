# An RPN on the demo's encoder: class-agnostic proposals for grounding (MMDetProposer). Its
# evaluation prints the recall of the first 10, 50 and 100 proposals at IoU 0.5 and 0.7.
_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py', 'fpn_tiny.py']
model = dict(
    **_base_.fpn,
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(strides=[3, 6, 12, 24, 48]),  # for patches of 12 pixels
    ),
    test_cfg=dict(rpn=dict(max_per_img=100)),
)
custom_imports = dict(
    imports=[
        'eclip_mm.models.detection',
        'eclip_mm.datasets.detection',
        'eclip_mm.evaluation.metrics.detection_recall',
    ]
)
default_hooks = dict(checkpoint=dict(save_best='proposals/recall@0.5/100'))
