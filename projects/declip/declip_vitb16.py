# DeCLIP with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.declip.declip'])
model = dict(
    type='DeCLIP',
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        declip=dict(type='DeCLIPHead', words=dict(embed_dims=768, vocab_size=30522)),
    ),
)
