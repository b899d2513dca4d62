# Prompts: text only. Mixed half and half is eclip_vitb16.py.
_base_ = '../eclip_vitb16.py'
model = dict(prompts=dict(image_prob=0.0))
