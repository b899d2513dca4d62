# The positive query is always the first, as at inference; eclip_tiny.py draws its index.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(positive_index='first'))
