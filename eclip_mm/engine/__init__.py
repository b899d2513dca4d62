from .checkpoint import PlainCheckpointHook, load_from_local, read_saved_config
from .checkpoint_hook import KeepingCheckpointHook
from .dist import (
    allow_accumulation,
    gather,
    leave_process_group,
    local_rows,
    prepare_cpu_launch,
    world,
)
from .evaluation_loops import ProductTestLoop, ProductValLoop
from .finite import NonFiniteLossError, check_finite
from .hooks import ClassPromptHook, ProgressBarHook, StepSeedHook, TeacherUpdateHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .optim import BF16OptimWrapper, PretrainOptimWrapperConstructor
from .picture_hook import PictureHook
from .self_contained import CheckpointTokenizer, go_on_from_checkpoint
from .sharded import ShardedRunner
from .train_loop import ResumableTrainLoop
from .worker_death import WorkerDiedError

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
