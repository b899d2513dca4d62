# Faster R-CNN on the demo's encoder; strides follow from its patches of 12 pixels.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
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
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[3, 6, 12, 24]),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=19),
    ),
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
