# RetinaNet on the demo's encoder, pretrained by configs/demo/eclip_tiny_synthetic.py, in generated
# photos; how to make these: _base_/synthetic_products.py
_base_ = ['_base_/retinanet_tiny.py', '_base_/synthetic_products.py']
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/eclip_tiny_synthetic/last.pth')),
    # patches of 8 pixels; products are about square and have 41 to 59 pixels
    neck=dict(scales=(1, 0.5), num_outs=2),
    bbox_head=dict(
        num_classes=64,
        anchor_generator=dict(
            strides=[8, 16], octave_base_scale=6, scales_per_octave=1, ratios=[1.0]
        ),
    ),
)
train_cfg = dict(max_epochs=30, val_interval=3)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=30)]
# 64 look-alikes of few pixels: all layers of the encoder learn, at half the rate
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0))
scale = (128, 128)  # photos have 80 x 80: patches of 8 are coarse for products of 30 pixels
train_pipeline = list(_base_.train_pipeline)
train_pipeline[2] = dict(train_pipeline[2], scale=scale)
test_pipeline = list(_base_.test_pipeline)
test_pipeline[1] = dict(test_pipeline[1], scale=scale)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
