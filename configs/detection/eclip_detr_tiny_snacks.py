# The demo's model, pretrained by configs/demo/eclip_tiny_snacks.py, as a detector.
#   python tools/train.py configs/detection/eclip_detr_tiny_snacks.py \
#       --cfg-options model.init_cfg.checkpoint=work_dirs/eclip_tiny_snacks/CHECKPOINT
_base_ = [
    '_base_/eclip_detr.py',
    '_base_/coco_products.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(
    num_extra_blocks=2,  # one pretrained block cannot suppress duplicates
    # queries start as the pretrained prompts of the products' names, two queries per name
    class_prompts=_base_.data_root + 'annotations/train.json',
    num_queries=38,
    test_cfg=dict(max_per_img=38),
    # a query that starts as a name should be matched with that product; with DETR's weight of 1
    # the nearest box would win, although all boxes are still coarse
    train_cfg=dict(
        assigner=dict(
            match_costs=[
                dict(type='ClassificationCost', weight=5.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ]
        )
    ),
)
