# retinanet_eclip_tiny_snacks.py without pretraining: its architecture, random weights.
_base_ = ['retinanet_eclip_tiny_snacks.py', '_base_/encoder_tiny_snacks.py']
model = dict(backbone=dict(encoder=_base_.encoder, init_cfg=None))
