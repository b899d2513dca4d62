# UNITER on phone photos, from the cached features of frozen towers.
_base_ = '../streams/matched_grocery.py'
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
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=1280, tied=True),
    ),
)
