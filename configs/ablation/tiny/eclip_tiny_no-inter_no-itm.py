# Table 5, "intra alone". Section 3.3 counts instance-text matching to the inter-product task
# ("This pretext task also incorporates ..."), the entropy term to the intra-product one.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(inter=None, itm=None))
