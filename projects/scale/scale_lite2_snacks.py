# SCALE on video frames, from the cached features of frozen towers.
_base_ = '../../configs/photos/clip_lite2_snacks.py'
custom_imports = dict(imports=['projects.scale.scale'])
model = dict(
    type='SCALE',
    projections=None,
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
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=1280),
    ),
)
