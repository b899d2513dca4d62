# Without image-text contrast (Eq. 6, 7).
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(itc=None))
