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
    masking=dict(type='StepMasks', mask_id=103, vocab_size=30522, first_id=999),
    pretext_heads=dict(
        itc=None,
        inter=None,
        itm=None,
        intra=None,
        clr=dict(type='CrossModalContrastHead'),
        words=dict(type='MaskedWordsHead', vocab_size=30522),
        regions=dict(type='MaskedRegionsHead', region_dims=768),
    ),
)
