# Table 5, "intra alone". In Section 3.3, instance-text matching belongs to the inter-product task
# ("This pretext task also incorporates ...") and the entropy term to the intra-product task.
_base_ = '../eclip_vitb16.py'
model = dict(pretext_heads=dict(inter=None, itm=None))
