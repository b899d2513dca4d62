# CAPTURE on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.capture.capture'])
model = dict(
    type='CAPTURE',
    streams=dict(
        type='StreamEncoder',
        text_layers=1,
        image_layers=1,
        co_layers=1,
        joint_layers=1,
        num_heads=4,
    ),
    masking=dict(type='StepMasks', mask_id=4, vocab_size=400),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        clr=dict(type='CrossModalContrastHead'),
        words=dict(type='MaskedWordsHead', vocab_size=400),
        regions=dict(type='MaskedRegionsHead', region_dims=128),
    ),
)
