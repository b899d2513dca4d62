# ALBEF with the towers, data and schedule of the paper's ViT-B/16: 6 layers of fusion, D = 256.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.albef.albef'])
model = dict(
    type='ALBEF',
    embed_dims=256,
    momentum=dict(momentum=0.995, schedule='constant'),
    fusion=dict(num_layers=6, num_heads=12, dropout=0.1),
    masking=dict(mask_id=103, first_id=999),
    alpha_steps=2344,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itc=dict(_delete_=True, type='SoftContrastHead', queue_size=65536),
        itm=dict(_delete_=True, type='FusionMatchingHead'),
        words=dict(type='FusedWordsHead'),
    ),
)
