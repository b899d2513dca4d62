from eclip_mm.engine.brief_runner import BriefRunner
from eclip_mm.engine.checkpoint_hooks import KeepingCheckpointHook, PlainCheckpointHook
from eclip_mm.engine.checks import RunCheckHook
from eclip_mm.engine.compile_hook import CompileHook
from eclip_mm.engine.evaluation_loops import ProductTestLoop, ProductValLoop
from eclip_mm.engine.feature_cache_hook import FeatureCacheHook
from eclip_mm.engine.hooks import ClassPromptHook, ProgressBarHook, StepSeedHook, TeacherUpdateHook
from eclip_mm.engine.layer_decay import LayerDecayOptimWrapperConstructor
from eclip_mm.engine.optim import BF16OptimWrapper, PretrainOptimWrapperConstructor
from eclip_mm.engine.sharded import ShardedRunner
from eclip_mm.engine.train_loop import ResumableTrainLoop
from eclip_mm.engine.worker_death import WorkerDiedError

__all__ = [
    'BF16OptimWrapper',
    'BriefRunner',
    'ClassPromptHook',
    'CompileHook',
    'FeatureCacheHook',
    'KeepingCheckpointHook',
    'LayerDecayOptimWrapperConstructor',
    'PlainCheckpointHook',
    'PretrainOptimWrapperConstructor',
    'ProductTestLoop',
    'ProductValLoop',
    'ProgressBarHook',
    'ResumableTrainLoop',
    'RunCheckHook',
    'ShardedRunner',
    'StepSeedHook',
    'TeacherUpdateHook',
    'WorkerDiedError',
]
