# SCALE on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.scale.scale'])
model = dict(
    type='SCALE',
    streams=dict(
        type='StreamEncoder',
        text_layers=1,
        image_layers=1,
        joint_layers=1,
        num_heads=4,
        ffn_ratio=2,
    ),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        ssc=dict(type='HarmonisedContrastHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=400, mask_id=4, first_id=5, patch_dims=128),
    ),
)
