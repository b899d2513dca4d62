# Prompts: pictures only, the product's other one. Evaluation prompts by text all the same.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(image_prob=1.0))
