# AdamW; the learning rate of the encoder decreases towards its input. Minutes on 2 CPU cores.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='eclip_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.8, lr_mults={'backbone.': 0.5}),
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=1.0, by_epoch=True, begin=0, end=12, convert_to_iter_based=True),
]
