# FILIP with CLIP's contrast of the pooled features, which retrieval uses, as a further task.
_base_ = 'filip_tiny_synthetic.py'
model = dict(pretext_heads=dict(itc=dict(_delete_=True, type='ITCHead')))
