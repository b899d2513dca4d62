# The positive query is always the first, as at inference; eclip_vitb16.py draws its index.
_base_ = '../eclip_vitb16.py'
model = dict(prompts=dict(positive_index='first'))
