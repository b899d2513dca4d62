# Table 6, "Negative Text". The row "Random Sampling" is eclip_vitb16.py itself.
_base_ = '../eclip_vitb16.py'
model = dict(negative_queries=dict(type='TextNegatives'))
