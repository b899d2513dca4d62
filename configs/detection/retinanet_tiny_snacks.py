# An independent reference: mmdet's RetinaNet, without any component of ours and without
# pretraining. Its width is chosen so that a step costs as much as one of
# eclip_detr_tiny_snacks.py: 0.45 s of CPU time for both on one machine, 0.63 s and 0.38 s on
# another.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '_base_/coco_products.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(
    # every layer is trained, since nothing is pretrained
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    # strides 8, 16 and 32 give anchors of 32 to 203 pixels; products have 50 to 160
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=19,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(strides=[8, 16, 32]),
    ),
)
# mmdet's own constructor, without the layer-wise decay for a pretrained encoder
optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
