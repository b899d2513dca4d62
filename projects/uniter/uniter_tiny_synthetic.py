# UNITER on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.uniter.uniter'])
model = dict(
    type='UNITER',
    streams=dict(type='StreamEncoder', joint_layers=3, num_heads=4),
    masking=dict(type='StepMasks', mask_id=4, vocab_size=400),
    mismatch_prob=0.5,
    tasks=dict(itm=2, mlm=2, mrm=1),
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='TransportMatchingHead'),
        words=dict(type='MaskedWordsHead', vocab_size=400),
        regions=dict(type='MaskedRegionsHead', region_dims=128, tied=True),
    ),
)
