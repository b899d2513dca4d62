# ViLBERT on phone photos, from the cached features of frozen towers.
_base_ = '../../configs/photos/clip_lite2_grocery.py'
custom_imports = dict(imports=['projects.vilbert.vilbert'])
model = dict(
    type='ViLBERT',
    streams=dict(type='StreamEncoder', image_layers=1, co_layers=2, num_heads=4),
    masking=dict(type='StepMasks', mask_id=103, vocab_size=30522, first_id=999),
    mismatch_prob=0.5,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='AlignmentHead'),
        words=dict(type='MaskedWordsHead', vocab_size=30522),
        regions=dict(type='MaskedRegionsHead', region_dims=1280),
    ),
)
