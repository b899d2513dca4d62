# Table 6, "EMA Update".
_base_ = '../eclip_vitb16.py'
model = dict(negative_queries=dict(type='EMANegatives'))
