# Without entropy regularisation (Eq. 10).
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(intra=dict(entropy=None)))
