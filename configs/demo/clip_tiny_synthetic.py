# CLIP: the same towers, data and steps without the pretext tasks.
_base_ = 'eclip_tiny_synthetic.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
