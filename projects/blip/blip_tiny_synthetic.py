# BLIP on the generated catalogue, with the towers, data and steps of the demo.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.blip.blip'])
model = dict(
    type='BLIP',
    momentum=dict(momentum=0.995, schedule='constant'),
    fusion=dict(num_layers=2, num_heads=4),
    alpha_steps=200,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itc=dict(_delete_=True, type='SoftContrastHead', queue_size=500),
        itm=dict(_delete_=True, type='FusionMatchingHead'),
        captions=dict(type='CaptionHead'),
    ),
)
# by cosine, and with the first 64 ordered by matching and cosine
custom_hooks = [*_base_.custom_hooks, dict(type='MatchingHook')]
test_evaluator = [
    *_base_.test_evaluator,
    dict(type='TwoStageRetrieval', split='photos', prefix='two_stage', cosine_weight=1.0),
]
