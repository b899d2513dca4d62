# CLIP: eclip_lite2-6_grocery.py without the pretext tasks.
_base_ = 'eclip_lite2-6_grocery.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
