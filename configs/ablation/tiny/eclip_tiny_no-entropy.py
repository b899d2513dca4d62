# Without entropy regularisation (Eq. 10).
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(intra=dict(entropy=None)))
