# EclipDETR with token queries. The costs of the matching and the weights of the losses are those
# of Deformable DETR; those of boxes are DETR's.
model = dict(
    type='eclip_mm.EclipDETR',
    num_queries=50,
    query_source='tokens',
    dense_branch=dict(type='eclip_mm.DenseBranch'),
    position_bias=True,
    places=True,
    refine=True,
    num_groups=1,
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
        loss_cls=dict(type='QualityFocalLoss', loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=50),
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/eclip/last.pth'),
)
