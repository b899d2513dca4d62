# eclip_detr_tiny_snacks.py without pretraining: same architecture and schedule, random weights.
_base_ = ['eclip_detr_tiny_snacks.py', '_base_/encoder_tiny_snacks.py']
model = dict(
    backbone=dict(encoder=_base_.encoder),
    decoder=dict(embed_dims=128, num_blocks=1, num_heads=4),
    class_prompts=None,
    init_cfg=None,
)
