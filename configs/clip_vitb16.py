# CLIP: the same towers, data and schedule, with the image-text contrastive task alone.
_base_ = 'eclip_vitb16.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
