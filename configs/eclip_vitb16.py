_base_ = [
    '_base_/models/eclip_vitb16.py',
    '_base_/datasets/catalogue_224.py',
    '_base_/schedules/pretrain_15e.py',
    '_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(save_best='val/fine_R@1', rule='greater'))
