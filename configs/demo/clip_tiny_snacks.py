# CLIP: eclip_tiny_snacks.py without the pretext tasks.
_base_ = 'eclip_tiny_snacks.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
