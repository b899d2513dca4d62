# Without inter-product contrast (Eq. 8); instance-text matching stays.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(inter=None))
