# Runtime settings of all detectors here. The scope is mmdet's: its names need no prefix, ours are
# 'eclip_mm.NAME'.
default_scope = 'mmdet'
custom_imports = dict(
    imports=[
        'eclip_mm.models.detection',
        'eclip_mm.datasets.detection',
        'eclip_mm.evaluation.metrics.detection_map',
    ]
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='eclip_mm.KeepingCheckpointHook',
        interval=1,
        max_keep_ckpts=1,
        save_best='detection/mAP@0.5',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
    plain_checkpoint=dict(type='eclip_mm.PlainCheckpointHook'),
    run_check=dict(type='eclip_mm.RunCheckHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(
    type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
