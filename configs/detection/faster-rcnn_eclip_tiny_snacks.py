# Faster R-CNN on the demo's encoder.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/fpn_tiny.py',
    '_base_/coco_products.py',
]
model = dict(
    **_base_.fpn,
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[3, 6, 12, 24]),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=19),
    ),
)
