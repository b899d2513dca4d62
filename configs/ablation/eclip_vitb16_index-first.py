# The positive query always stands first, as it does at inference; eclip_vitb16.py draws its place.
_base_ = '../eclip_vitb16.py'
model = dict(prompts=dict(positive_index='first'))
