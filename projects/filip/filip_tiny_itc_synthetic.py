# FILIP that also trains the features that retrieval uses, by CLIP's contrast of the pooled ones.
_base_ = 'filip_tiny_synthetic.py'
model = dict(pretext_heads=dict(itc=dict(_delete_=True, type='ITCHead')))
