# ViLBERT with the towers, data and schedule of the paper's ViT-B/16.
_base_ = '../../configs/eclip_vitb16.py'
custom_imports = dict(imports=['projects.vilbert.vilbert'])
model = dict(
    type='ViLBERT',
    embed_dims=768,
    streams=dict(type='StreamEncoder', image_layers=1, co_layers=6, num_heads=12),
    mismatch_prob=0.5,
    pretext_heads=dict(
        inter=None,
        intra=None,
        itm=dict(_delete_=True, type='AlignmentHead'),
        masked=dict(type='MaskedTasksHead', vocab_size=30522, patch_dims=768),
    ),
)
