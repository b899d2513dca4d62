# Every prompt in training is the product's other picture; evaluation still prompts by text.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(image_prob=1.0))
