# Table 5: without inter-product learning (Eq. 8).
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(inter=None))
