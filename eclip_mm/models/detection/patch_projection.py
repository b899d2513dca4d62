"""The projection of patch tokens in a pretraining checkpoint, for a detector's g_I."""

from torch import nn

from eclip_mm.checkpoint.metadata import read_meta
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.models.detection.pretrained import LoadReport

SEPARATE = 'patch_proj.linear'
SHARED = 'image_proj'


def find_patch_projection(checkpoint: str, prefix: str = 'network.') -> str:
    """Name of the linear map that gave the pretrained decoder its patch tokens.

    Args:
        checkpoint, prefix: as for :func:`load_pretrained`.

    Returns:
        ``patch_proj.linear`` of ``patch_projection='separate'``, else ``image_proj``.

    Raises:
        ValueError: it is no linear map (``patch_projection='head'``).
    """
    encoders = read_meta(checkpoint).get('encoders') or {}
    kind = encoders.get('model', {}).get('patch_projection')
    if kind == 'head':
        raise ValueError(
            f"{checkpoint} was trained with patch_projection='head', from which EclipDETR cannot "
            "start: its g_I is one linear map. Pretrain with patch_projection='separate'"
        )
    state = read_checkpoint(checkpoint)
    state = state.get('state_dict', state)
    return SEPARATE if f'{prefix}{SEPARATE}.weight' in state else SHARED


def check_projection(report: LoadReport, image_proj: nn.Linear) -> None:
    """Check that a detector's g_I was loaded; without a bias in the checkpoint it has none.

    Args:
        report: of :func:`load_pretrained`.
        image_proj: g_I of the detector, changed in place.

    Raises:
        ValueError: its weight was not loaded.
    """
    name = SEPARATE if SEPARATE in report.loaded else SHARED
    if not report.loaded[name] or f'{name}.weight' in report.new:
        raise ValueError(
            f'{report.checkpoint} has no linear map of patch tokens ({SEPARATE} or {SHARED}), '
            "from which EclipDETR could start. Pretrain with patch_projection='separate', or set "
            'init_cfg of the backbone only'
        )
    if f'{name}.bias' in report.new:
        nn.init.zeros_(image_proj.bias)
