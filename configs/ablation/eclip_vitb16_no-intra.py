# Table 5: without intra-product learning and its entropy term (Eq. 9, 10).
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(intra=None))
