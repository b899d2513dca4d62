# DeCLIP with the towers, data and steps of the demo on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.declip.declip'])
model = dict(
    type='DeCLIP',
    first_word_id=5,
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        declip=dict(
            type='DeCLIPHead',
            bank_size=500,
            simsiam=dict(hidden_dims=128, bottleneck_dims=64),
            words=dict(embed_dims=128, vocab_size=400, mask_id=4, first_id=5),
        ),
    ),
)
