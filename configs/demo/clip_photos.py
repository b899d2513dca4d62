# CLIP: eclip_photos.py without the pretext tasks.
_base_ = 'eclip_photos.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
