# CLIP, the row "neither" of Table 5.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
