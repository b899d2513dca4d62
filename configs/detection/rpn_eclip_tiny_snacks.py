# Proposals for grounding with configs/demo/eclip_tiny_snacks.py. Pictures are reduced to what that
# model sees, 96 x 96 pixels whatever their shape, and enlarged again because this is coarse for
# patches of 12.
_base_ = ['_base_/rpn_tiny.py', '_base_/coco_products.py']
seen, scale = (96, 96), (192, 192)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='Resize', scale=seen, keep_ratio=False),
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=scale, allow_negative_crop=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = list(_base_.test_pipeline)
test_pipeline[1] = dict(test_pipeline[1], scale=scale, keep_ratio=False)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='eclip_mm.ProposalRecall')
test_evaluator = val_evaluator
