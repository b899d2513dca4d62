# 15 epochs, AdamW, linear warm-up to 1e-4, linear decay (paper, Section 4.1).
train_cfg = dict(type='ResumableTrainLoop', max_epochs=15, val_interval=1)
val_cfg = dict(type='ProductValLoop')
test_cfg = dict(type='ProductTestLoop')

optim_wrapper = dict(
    type='BF16OptimWrapper',
    constructor='PretrainOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
    accumulative_counts=1,
)

param_scheduler = [
    # the warm-up lasts one of the 15 epochs: 2,344 steps at the paper's size, fewer in a small run
    dict(
        type='LinearLR',
        start_factor=0.01,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0,
        by_epoch=True,
        begin=1,
        end=15,
        convert_to_iter_based=True,
    ),
]
