# UNITER with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.uniter.uniter'])
model = dict(
    type='UNITER',
    embed_dims=768,
    streams=dict(type='StreamEncoder', joint_layers=12, num_heads=12),
    mismatch_prob=0.5,
    tasks=dict(itm=2, mlm=2, mrm=1),
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='TransportMatchingHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=768, tied=True),
    ),
)
