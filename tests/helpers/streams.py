"""Tiny models of the projects on two streams."""

import torch

from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config

OFF = dict(itc=None, inter=None, itm=None, intra=None)
#: model -> its layers, heads and other arguments
KINDS = dict(
    CAPTURE=dict(
        streams=dict(text_layers=1, image_layers=1, co_layers=1, joint_layers=1),
        heads=dict(clr=dict(type='CrossModalContrastHead')),
    ),
    SCALE=dict(
        streams=dict(text_layers=1, image_layers=1, joint_layers=1),
        heads=dict(ssc=dict(type='HarmonisedContrastHead')),
    ),
    ViLBERT=dict(
        streams=dict(image_layers=1, co_layers=2),
        heads=dict(itc=dict(type='ITCHead'), itm=dict(type='AlignmentHead')),
        mismatch_prob=0.5,
    ),
    UNITER=dict(
        streams=dict(joint_layers=2),
        heads=dict(itc=dict(type='ITCHead'), itm=dict(type='TransportMatchingHead')),
        mismatch_prob=0.5,
        tasks=dict(itm=2, mlm=2, mrm=1),
    ),
)


def import_projects() -> None:
    """Register the models; the top folder is on the path."""
    import projects.capture.capture
    import projects.scale.scale
    import projects.uniter.uniter
    import projects.vilbert.vilbert  # noqa: F401


def build(kind: str, dropout: float = 0.0, masking: dict | None = None, **overrides):
    """A model of 32 numbers a token, of an own seed."""
    torch.manual_seed(0)
    options = dict(KINDS[kind])
    heads, layers = options.pop('heads'), options.pop('streams')
    streams = dict(type='StreamEncoder', num_heads=2, ffn_ratio=2, dropout=dropout, **layers)
    cfg = tiny_model_config(**{**dict(type=kind, streams=streams, **options), **overrides})
    masked = dict(
        type='MaskedTasksHead',
        vocab_size=100,
        patch_dims=32,
        mask_id=4,
        first_id=5,
        tied=kind == 'UNITER',
    )
    cfg['pretext_heads'] = {**OFF, **heads, 'masked': masked | (masking or {})}
    return MODELS.build(cfg)
