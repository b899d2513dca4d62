# Proposals for grounding with configs/demo/eclip_tiny_synthetic.py. As in
# rpn_eclip_tiny_snacks.py, pictures are reduced to what that model sees, 64 x 64 pixels, and
# enlarged again.
_base_ = ['_base_/rpn_tiny.py', '_base_/synthetic_products.py']
seen, scale = (64, 64), (128, 128)
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/eclip_tiny_synthetic/last.pth')),
    # for patches of 8 pixels
    rpn_head=dict(anchor_generator=dict(strides=[2, 4, 8, 16, 32])),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
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
