from eclip_mm.engine.checkpoint import PlainCheckpointHook, load_from_local, read_saved_config
from eclip_mm.engine.checkpoint_hook import KeepingCheckpointHook
from eclip_mm.engine.dist import (
    allow_accumulation,
    gather,
    leave_process_group,
    local_rows,
    prepare_cpu_launch,
    world,
)
from eclip_mm.engine.evaluation_loops import ProductTestLoop, ProductValLoop
from eclip_mm.engine.finite import NonFiniteLossError, check_finite
from eclip_mm.engine.hooks import ClassPromptHook, ProgressBarHook, StepSeedHook, TeacherUpdateHook
from eclip_mm.engine.layer_decay import LayerDecayOptimWrapperConstructor
from eclip_mm.engine.optim import BF16OptimWrapper, PretrainOptimWrapperConstructor
from eclip_mm.engine.picture_hook import PictureHook
from eclip_mm.engine.self_contained import CheckpointTokenizer, go_on_from_checkpoint
from eclip_mm.engine.sharded import ShardedRunner
from eclip_mm.engine.train_loop import ResumableTrainLoop
from eclip_mm.engine.worker_death import WorkerDiedError

__all__ = [
    'BF16OptimWrapper',
    'CheckpointTokenizer',
    'ClassPromptHook',
    'KeepingCheckpointHook',
    'LayerDecayOptimWrapperConstructor',
    'NonFiniteLossError',
    'PictureHook',
    'PlainCheckpointHook',
    'PretrainOptimWrapperConstructor',
    'ProductTestLoop',
    'ProductValLoop',
    'ProgressBarHook',
    'ResumableTrainLoop',
    'ShardedRunner',
    'StepSeedHook',
    'TeacherUpdateHook',
    'WorkerDiedError',
    'allow_accumulation',
    'check_finite',
    'gather',
    'go_on_from_checkpoint',
    'load_from_local',
    'leave_process_group',
    'local_rows',
    'prepare_cpu_launch',
    'read_saved_config',
    'world',
]
