# CAPTURE on phone photos, from the cached features of frozen towers.
_base_ = '../../configs/photos/clip_lite2_grocery.py'
custom_imports = dict(imports=['projects.capture.capture'])
model = dict(
    type='CAPTURE',
    projections=None,
    streams=dict(
        type='StreamEncoder',
        text_layers=1,
        image_layers=1,
        co_layers=1,
        joint_layers=1,
        num_heads=4,
        ffn_ratio=2,
    ),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        clr=dict(type='CrossModalContrastHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=1280),
    ),
)
