# RetinaNet on the demo's encoder, pretrained by configs/demo/eclip_tiny_synthetic.py, on generated
# photos. _base_/synthetic_products.py contains the commands that make the photos.
_base_ = ['_base_/retinanet_tiny.py', '_base_/synthetic_products.py']
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/eclip_tiny_synthetic/last.pth')),
    # for patches of 8 pixels and products that are about square, with 41 to 59 pixels
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
# the 64 products look alike and have few pixels, so all encoder layers learn at half the rate
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0))
scale = (128, 128)  # in photos of 80 x 80, patches of 8 are coarse for products of 30 pixels
train_pipeline = list(_base_.train_pipeline)
train_pipeline[2] = dict(train_pipeline[2], scale=scale)
test_pipeline = list(_base_.test_pipeline)
test_pipeline[1] = dict(test_pipeline[1], scale=scale)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
