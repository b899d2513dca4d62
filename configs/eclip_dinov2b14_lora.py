# Both towers keep their weights; adapters of rank 8 in every Linear of their blocks are trained.
_base_ = 'eclip_dinov2b14.py'
model = dict(lora=dict(image=dict(r=8, alpha=16), text=dict(r=8, alpha=16)))
