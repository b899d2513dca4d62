# SCALE on video frames, from the cached features of frozen towers.
_base_ = '../../configs/photos/clip_lite2_snacks.py'
custom_imports = dict(imports=['projects.scale.scale'])
model = dict(
    type='SCALE',
    projections=None,
    streams=dict(type='StreamEncoder', text_layers=1, image_layers=1, joint_layers=1, num_heads=4),
    masking=dict(type='StepMasks', mask_id=103, vocab_size=30522, first_id=999),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        ssc=dict(type='HarmonisedContrastHead'),
        words=dict(type='MaskedWordsHead', vocab_size=30522),
        regions=dict(type='MaskedRegionsHead', region_dims=1280),
    ),
)
