# Prompts: text only. Mixed half and half is eclip_tiny.py.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(image_prob=0.0))
