# The demo's model, pretrained by configs/demo/eclip_tiny_synthetic.py, as a detector of products
# in generated photos. _base_/synthetic_products.py contains the commands that make the photos.
_base_ = [
    '_base_/eclip_detr.py',
    '_base_/synthetic_products.py',
    '_base_/schedule_tiny.py',
    '_base_/runtime.py',
]
model = dict(
    num_queries=20,
    num_extra_blocks=1,
    bbox_head=dict(num_classes=64),
    test_cfg=dict(max_per_img=20),
)
train_cfg = dict(max_epochs=24, val_interval=4)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24)]
