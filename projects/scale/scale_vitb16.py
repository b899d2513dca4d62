# SCALE with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.scale.scale'])
model = dict(
    type='SCALE',
    embed_dims=768,
    streams=dict(
        type='StreamEncoder', text_layers=6, image_layers=6, joint_layers=6, num_heads=12
    ),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        ssc=dict(type='HarmonisedContrastHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=768),
    ),
)
