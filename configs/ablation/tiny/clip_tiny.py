# Table 5, "neither": CLIP.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
