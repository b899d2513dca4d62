"""What an EclipDETR starts from: its settings, and the parts of a pretraining checkpoint."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from eclip_mm.models.detection.backbone import pretrained_source
from eclip_mm.models.detection.class_prompts import (
    NameEncoder,
    begin_classifier,
    begin_with_names,
    begin_with_tokens,
    class_names,
)
from eclip_mm.models.detection.patch_projection import check_projection, find_patch_projection
from eclip_mm.models.detection.pretrained import load_pretrained

if TYPE_CHECKING:
    from eclip_mm.models.detection.detr import EclipDETR


def check_settings(
    query_source: str, dense_branch, class_prompts, init_cfg: dict | None, others: dict
) -> None:
    """Check arguments of an EclipDETR that depend on each other.

    Args:
        query_source, dense_branch, class_prompts, init_cfg: as it got them.
        others: further arguments, for mmdet's ``DETR``.

    Raises:
        ValueError: they do not fit.
    """
    if query_source not in ('learned', 'tokens'):
        raise ValueError(
            f"EclipDETR: query_source must be 'learned' or 'tokens', got {query_source!r}"
        )
    if query_source == 'tokens' and not dense_branch:
        raise ValueError(
            "EclipDETR: query_source='tokens' takes the tokens that a dense branch scores "
            "highest; set dense_branch=dict(type='eclip_mm.DenseBranch')"
        )
    if class_prompts is not None and init_cfg is None:
        raise ValueError(
            'EclipDETR: class_prompts are encoded by a pretraining; set init_cfg, or '
            'class_prompts=None'
        )
    for key in ('neck', 'encoder', 'positional_encoding'):
        if others.get(key) is not None:
            raise ValueError(f'EclipDETR has no {key}: g_I and the decoder follow the backbone')


def load_detr(model: 'EclipDETR') -> None:
    """Load image encoder, g_I and decoder from ``init_cfg.checkpoint``, and begin queries.

    Args:
        model: changed in place.

    Raises:
        KeyError: ``class_prompts`` need a text encoder, which the checkpoint does not have.
        ValueError: there are more names than queries or classes, or see
            :func:`load_pretrained` and :func:`check_projection`.
    """
    source = pretrained_source(model.init_cfg)
    parts = {
        'image_encoder': model.backbone.encoder,
        find_patch_projection(**source): model.image_proj,
        'decoder': model.decoder,
    }
    if model.takes_tokens:
        begin_with_tokens(model.query_embedding, **source)
    if model.class_prompts is None:
        check_projection(load_pretrained(parts, **source), model.image_proj)
        return
    names = class_names(model.class_prompts, model.bbox_head.num_classes)
    if model.num_queries < len(names) and not model.takes_tokens:
        raise ValueError(
            f'num_queries={model.num_queries} is too small for {len(names)} class_prompts, '
            'each of which needs at least one query'
        )
    encoder = NameEncoder(source['checkpoint'])
    text_parts = dict(text_encoder=encoder.text_encoder, text_proj=encoder.text_proj)
    report = load_pretrained(parts | text_parts, **source)
    check_projection(report, model.image_proj)
    missing = [
        part
        for part, module in text_parts.items()
        if not report.loaded[part] and module.state_dict()
    ]
    if missing:
        raise KeyError(
            f'{report.checkpoint} has no {" and no ".join(missing)}, which class_prompts '
            'need; take the checkpoint that the pretraining wrote, or class_prompts=None'
        )
    name_feats = encoder(names)
    if not model.takes_tokens:
        begin_with_names(model.query_embedding, name_feats, **source)
    sigmoid = model.bbox_head.loss_cls.use_sigmoid
    begin_classifier(model.bbox_head.fc_cls, name_feats, source['checkpoint'], sigmoid)


@torch.no_grad()
def begin_extra_blocks(blocks: nn.ModuleList, num_extra_blocks: int) -> None:
    """Make the last blocks copies of the block before them that change nothing yet.

    Args:
        blocks: of an :class:`InstanceDecoder`, changed in place.
        num_extra_blocks: how many of them; nothing happens if these are all.
    """
    first = len(blocks) - num_extra_blocks
    for block in blocks[first:] if first else ():
        block.load_state_dict(blocks[first - 1].state_dict())
        for out in (block.slot_attn.proj_o, block.self_attn.out_proj, block.ffn[-1]):
            for param in out.parameters():
                param.zero_()
