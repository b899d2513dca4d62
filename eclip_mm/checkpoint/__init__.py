"""Reading checkpoints without running code from them, and what is stored besides weights.

``eclip_mm.checkpoint.safe_loading.install()`` makes mmengine's own loaders safe, too.
"""

from eclip_mm.checkpoint.metadata import (
    last_checkpoint,
    read_meta,
    read_saved_config,
    use_checkpoint,
    use_resumed_checkpoint,
)
from eclip_mm.checkpoint.safe_loading import read_checkpoint

__all__ = [
    'last_checkpoint',
    'read_checkpoint',
    'read_meta',
    'read_saved_config',
    'use_checkpoint',
    'use_resumed_checkpoint',
]
