# DETR's defaults: matching costs, loss weights and background weight as in the DETR paper.
model = dict(
    type='eclip_mm.EclipDETR',
    num_queries=50,
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        # as in pretraining
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_size_divisor=1,
    ),
    # the checkpoint provides encoder and decoder
    backbone=dict(type='eclip_mm.EclipBackbone'),
    bbox_head=dict(
        type='eclip_mm.EclipDETRHead',
        num_classes=19,
        loss_cls=dict(type='CrossEntropyLoss', bg_cls_weight=0.1, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
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
    test_cfg=dict(max_per_img=50),
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/eclip/last.pth'),
)
