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
    # pretraining needs these; a child config that sets custom_hooks would drop them from there
    teacher=dict(type='TeacherUpdateHook'),
    step_seed=dict(type='StepSeedHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    run_check=dict(type='RunCheckHook'),
    # --cfg-options default_hooks.compile.enabled=True compiles the training step
    compile=dict(type='CompileHook', enabled=False),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

# DDP: the graph is static because every step uses the same parts of the model (tools/train.py sets
# static_graph=False while gradients accumulate), and gradients are views of the communication
# buckets, which saves a copy
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
