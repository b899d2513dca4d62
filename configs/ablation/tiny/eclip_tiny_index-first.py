# The positive query always stands first, as it does at inference; eclip_tiny.py draws its place.
_base_ = 'eclip_tiny.py'
model = dict(prompts=dict(positive_index='first'))
