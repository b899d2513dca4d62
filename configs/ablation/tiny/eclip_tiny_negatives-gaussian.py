# Table 6, "Random Sampling"; the training is that of eclip_tiny.py.
_base_ = 'eclip_tiny.py'
model = dict(negative_queries=dict(use='gaussian'))
