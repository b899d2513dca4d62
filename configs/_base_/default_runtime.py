default_scope = 'eclip_mm'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='KeepingCheckpointHook',
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        save_last=True,
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # pretraining needs these; here and not in custom_hooks, which a child config replaces whole
    teacher=dict(type='TeacherUpdateHook'),
    step_seed=dict(type='StepSeedHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    # --cfg-options default_hooks.compile.enabled=True compiles the training step
    compile=dict(type='CompileHook', enabled=False),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

# of several processes: every step takes the same parts of the model (not while gradients
# accumulate: tools/train.py then sets static_graph=False), and gradients lie where they are sent
# from instead of being copied there
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel',
    static_graph=True,
    gradient_as_bucket_view=True,
    broadcast_buffers=False,
)

# TensorBoard: vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
