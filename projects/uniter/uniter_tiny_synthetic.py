# UNITER on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.uniter.uniter'])
model = dict(
    type='UNITER',
    streams=dict(type='StreamEncoder', joint_layers=3, num_heads=4, ffn_ratio=2),
    mismatch_prob=0.5,
    tasks=dict(itm=2, mlm=2, mrm=1),
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='TransportMatchingHead'),
        masked=dict(
            type='MaskedTasksHead',
            vocab_size=400,
            mask_id=4,
            first_id=5,
            patch_dims=128,
            tied=True,
        ),
    ),
)
