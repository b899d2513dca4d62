# ALBEF on the generated catalogue, with the towers, data and steps of the demo.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.albef.albef'])
model = dict(
    type='ALBEF',
    momentum=dict(momentum=0.995, schedule='constant'),
    fusion=dict(num_layers=2, num_heads=4),
    masking=dict(mask_id=4, first_id=5),
    alpha_steps=100,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itc=dict(_delete_=True, type='SoftContrastHead', queue_size=500),
        itm=dict(_delete_=True, type='FusionMatchingHead'),
        words=dict(type='FusedWordsHead'),
    ),
)
# by cosine, and with the first 64 ordered by matching
custom_hooks = [*_base_.custom_hooks, dict(type='MatchingHook')]
test_evaluator = [
    *_base_.test_evaluator,
    dict(type='TwoStageRetrieval', split='photos', prefix='two_stage'),
]
