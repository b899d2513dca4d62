# retinanet_eclip_tiny_snacks.py without pretraining: its architecture, random weights, same
# schedule; with the encoder's learning rates as high as the head's it did no better.
_base_ = ['retinanet_eclip_tiny_snacks.py', '_base_/encoder_tiny_snacks.py']
model = dict(backbone=dict(encoder=_base_.encoder, init_cfg=None))
