# CLIP: eclip_lite2_snacks.py without the pretext tasks. Its map is the cosine of patch and text.
_base_ = 'eclip_lite2_snacks.py'
model = dict(pretext_heads=dict(inter=None, itm=None, intra=None))
