# Table 5, "inter alone": without Eq. 9 and its entropy term, Eq. 10. Instance-text matching stays,
# since it belongs to the inter-product task in Section 3.3.
_base_ = 'eclip_tiny.py'
model = dict(pretext_heads=dict(intra=None))
