# Faster R-CNN on the demo's encoder, pretrained by configs/demo/eclip_tiny_snacks.py, reduced for
# CPU cores: with mmdet's numbers of proposals and samples, and a map with cells of a quarter
# patch, a step took four times as long.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/fpn_tiny.py',
    '_base_/coco_products.py',
]
model = dict(
    data_preprocessor=_base_.fpn.data_preprocessor,
    backbone=_base_.fpn.backbone,
    neck=dict(**_base_.fpn.neck, scales=(2, 1, 0.5), num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(strides=[6, 12, 24, 48]),  # for patches of 12 pixels
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64,
            featmap_strides=[6, 12, 24],
            roi_layer=dict(sampling_ratio=2),
        ),
        bbox_head=dict(
            in_channels=64, fc_out_channels=256, num_classes=19, reg_class_agnostic=True
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=300),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300)),
)
