# DeCLIP on frozen, cached towers. Hidden words would train nothing that is used: the text tower is
# frozen.
_base_ = '../../configs/photos/eclip_lite2_grocery.py'
custom_imports = dict(imports=['projects.declip.declip'])
model = dict(
    type='DeCLIP',
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        declip=dict(
            type='DeCLIPHead',
            bank_size=2048,
            simsiam=dict(hidden_dims=256, bottleneck_dims=128),
        ),
    ),
)
