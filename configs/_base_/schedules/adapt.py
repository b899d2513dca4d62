# Adapting pretrained towers to a catalogue of photos in minutes: loaders, schedule and hooks.
_base_ = '../default_runtime.py'
train_dataloader = dict(
    batch_size=64,
    num_workers=0,  # features come from a memory-mapped file
    drop_last=True,
    sampler=dict(type='ResumableSampler', shuffle=True),
    collate_fn=dict(type='collate_products'),
    dataset=dict(type='ProductDataset'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_products'),
    dataset=dict(type='ProductImageDataset', split='val'),
)
test_dataloader = val_dataloader
train_cfg = dict(type='ResumableTrainLoop', max_epochs=6, val_interval=2)
val_cfg = dict(type='ProductValLoop')
test_cfg = dict(type='ProductTestLoop')
optim_wrapper = dict(
    constructor='PretrainOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=1e-5,
        by_epoch=True,
        begin=0,
        end=6,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1), logger=dict(interval=50))
custom_hooks = [dict(type='ProgressBarHook')]
