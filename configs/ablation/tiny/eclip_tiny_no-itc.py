# Without image-text contrast (Eq. 6, 7).
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(itc=None))
