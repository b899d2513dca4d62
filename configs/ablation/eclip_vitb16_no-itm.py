# Without instance-text matching.
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(itm=None))
