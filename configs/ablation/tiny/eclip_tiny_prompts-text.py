# Every prompt is a text; eclip_tiny.py draws text or picture with equal probability.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(image_prob=0.0))
