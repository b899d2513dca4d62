# Table 5: without instance-text matching.
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(itc=None))
