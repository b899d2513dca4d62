# RetinaNet on the demo's encoder; its head is as wide and deep as in retinanet_tiny_snacks.py.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', 'fpn_tiny.py']
model = dict(
    data_preprocessor=_base_.fpn.data_preprocessor,
    backbone=_base_.fpn.backbone,
    # a product covers several patches, so the finest cell is half a patch
    neck=dict(**_base_.fpn.neck, scales=(2, 1, 0.5), num_outs=3),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(strides=[6, 12, 24]),  # for patches of 12 pixels
    ),
)
