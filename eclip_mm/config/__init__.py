"""Loading configs, completing them from a checkpoint, and launching programs with them."""

from eclip_mm.config.detection import draw_detections, fill_architecture, read_saved_detector
from eclip_mm.config.errors import explain_checkpoint_errors, name_config_in_errors
from eclip_mm.config.feature_cache import cache_pictures, use_feature_cache
from eclip_mm.config.from_checkpoint import complete_from_checkpoint, without_pretrained
from eclip_mm.config.launch import (
    add_needed_hooks,
    allow_accumulation,
    apply_launch_arguments,
    prepare_cpu_launch,
)
from eclip_mm.config.loading import load_config

__all__ = [
    'add_needed_hooks',
    'allow_accumulation',
    'apply_launch_arguments',
    'cache_pictures',
    'complete_from_checkpoint',
    'draw_detections',
    'explain_checkpoint_errors',
    'fill_architecture',
    'load_config',
    'name_config_in_errors',
    'prepare_cpu_launch',
    'read_saved_detector',
    'use_feature_cache',
    'without_pretrained',
]
