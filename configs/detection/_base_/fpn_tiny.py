# The demo's encoder with a feature pyramid, for mmdet's detectors. A config puts it into its model
# as a whole (model = dict(**_base_.fpn, ...)) or part by part.
_base_ = ['schedule_tiny.py', 'runtime.py']
fpn = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, pad_size_divisor=1),
    backbone=dict(
        _delete_=True,
        type='eclip_mm.EclipBackbone',
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/eclip_tiny_snacks/last.pth'),
    ),
    neck=dict(_delete_=True, type='eclip_mm.SimpleFPN', in_channels=128, out_channels=64),
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
