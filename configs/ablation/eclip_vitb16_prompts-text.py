# Every prompt is a text; eclip_vitb16.py draws text or picture with equal probability.
_base_ = '../eclip_vitb16.py'
model = dict(prompts=dict(image_prob=0.0))
