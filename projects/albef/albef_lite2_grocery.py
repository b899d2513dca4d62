# ALBEF on photos of groceries, from the cached features of frozen towers.
_base_ = '../../configs/photos/eclip_lite2_grocery.py'
custom_imports = dict(imports=['projects.albef.albef'])
model = dict(
    type='ALBEF',
    momentum=dict(momentum=0.995, schedule='constant'),
    fusion=dict(num_layers=2, num_heads=4),
    masking=dict(mask_id=103, first_id=999),
    alpha_steps=50,
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
    dict(type='TwoStageRetrieval', split='val', prefix='two_stage'),
]
