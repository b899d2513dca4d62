# CAPTURE with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.capture.capture'])
model = dict(
    type='CAPTURE',
    embed_dims=768,
    streams=dict(
        type='StreamEncoder',
        text_layers=4,
        image_layers=4,
        co_layers=4,
        joint_layers=6,
        num_heads=12,
    ),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        clr=dict(type='CrossModalContrastHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=768),
    ),
)
