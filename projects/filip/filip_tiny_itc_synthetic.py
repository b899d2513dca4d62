# FILIP that also trains what retrieval uses: CLIP's contrast of the pooled features beside.
_base_ = 'filip_tiny_synthetic.py'
model = dict(pretext_heads=dict(itc=dict(_delete_=True, type='ITCHead')))
