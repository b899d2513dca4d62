# BLIP with the towers, data and schedule of the paper's ViT-B/16: 6 layers of fusion, D = 256.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.blip.blip'])
model = dict(
    type='BLIP',
    embed_dims=256,
    momentum=dict(momentum=0.995, schedule='constant'),
    fusion=dict(num_layers=6, num_heads=12, dropout=0.1),
    alpha_steps=4688,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itc=dict(_delete_=True, type='SoftContrastHead', queue_size=57600),
        itm=dict(_delete_=True, type='FusionMatchingHead'),
        captions=dict(type='CaptionHead'),
    ),
)
