# ViLBERT on the generated catalogue.
_base_ = '../../configs/demo/eclip_tiny_synthetic.py'
custom_imports = dict(imports=['projects.vilbert.vilbert'])
model = dict(
    type='ViLBERT',
    streams=dict(type='StreamEncoder', image_layers=1, co_layers=2, num_heads=4, ffn_ratio=2),
    mismatch_prob=0.5,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='AlignmentHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=400, mask_id=4, first_id=5, patch_dims=128),
    ),
)
