# Without instance-text matching.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(itm=None))
