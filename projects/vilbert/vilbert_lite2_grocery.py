# ViLBERT on phone photos, from the cached features of frozen towers.
_base_ = '../streams/matched_grocery.py'
custom_imports = dict(imports=['projects.vilbert.vilbert'])
model = dict(
    type='ViLBERT',
    streams=dict(type='StreamEncoder', image_layers=1, co_layers=2, num_heads=4, ffn_ratio=2),
    mismatch_prob=0.5,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='AlignmentHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=1280),
    ),
)
