# Table 6, "EMA Update"; the training is that of eclip_tiny.py.
_base_ = 'eclip_tiny.py'
model = dict(negative_queries=dict(use='ema'))
