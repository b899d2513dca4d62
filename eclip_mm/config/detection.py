"""Completing detection configs with the architecture in their pretraining checkpoint."""

import copy

from eclip_mm.checkpoint.metadata import read_meta, read_saved_config
from eclip_mm.config.from_checkpoint import without_pretrained
from eclip_mm.utils.config_text import parse_config_text, refuse_import_paths


def fill_architecture(model: dict, saved: dict | None = None) -> None:
    """Fill in the architecture that a detector's config leaves to ``init_cfg.checkpoint``.

    This sets ``encoder`` of every EclipBackbone and ``decoder`` of every EclipDETR,
    in place. The config that is stored in the detector's own checkpoints is then
    complete, so that using one of them needs no pretraining checkpoint.

    Args:
        model: config of a model, which may contain detectors at any depth.
        saved: for evaluation, the model config in the detector's own checkpoint.
            It has priority over the pretraining checkpoint.

    Raises:
        KeyError: a part is not set, and no checkpoint has it.
    """
    saved = saved or {}
    name = _name(model)
    if name == _name(saved) == 'EclipBackbone':
        model['encoder'] = model.get('encoder') or _registered(saved.get('encoder'))
    if name == 'EclipBackbone':
        fill_backbone(model)
    elif name == 'EclipDETR':
        if _name(saved) == name:
            own = _registered(saved.get('backbone', {}).get('encoder'))
            model['backbone']['encoder'] = model['backbone'].get('encoder') or own
            own = _registered(saved.get('decoder')) or {}
            model['decoder'] = {**own, **(model.get('decoder') or {})}
        fill_detr(model)
    else:
        for key, value in model.items():
            if isinstance(value, dict):
                part = saved.get(key)
                fill_architecture(value, part if isinstance(part, dict) else None)


def _registered(part: dict | None) -> dict | None:
    """A part of a stored config, after a check that it names no import paths."""
    refuse_import_paths(part, "the config in the detector's checkpoint")
    return part


def _name(part: dict) -> str:
    """Class name in a config, without its scope."""
    return str(part.get('type')).rpartition('.')[2]


def fill_backbone(backbone: dict, init_cfg: dict | None = None) -> None:
    """Set ``encoder`` of an EclipBackbone.

    Args:
        backbone: config of the backbone; changed in place.
        init_cfg: ``init_cfg`` of the detector, used if the backbone has none.
    """
    if backbone.get('encoder') is None:
        init_cfg = backbone.get('init_cfg') or init_cfg
        saved = saved_model(init_cfg, 'EclipBackbone', 'encoder')
        backbone['encoder'] = saved['image_encoder']


def fill_detr(model: dict) -> None:
    """Set ``backbone.encoder`` and ``decoder`` of an EclipDETR, in place.

    Fields of a decoder in the config are added to those in the checkpoint, or
    replace them. If the config has both ``embed_dims`` and ``num_blocks``, the
    checkpoint is not read for the decoder.
    """
    fill_backbone(model['backbone'], model.get('init_cfg'))
    own = dict(model.get('decoder') or {})
    if not {'embed_dims', 'num_blocks'} <= own.keys():
        saved = saved_model(model.get('init_cfg'), 'EclipDETR', 'decoder')
        width = dict(embed_dims=saved.get('embed_dims', 512))
        own = {'num_blocks': 6, **saved.get('decoder', {}), **width, **own}
    model['decoder'] = {'type': 'InstanceDecoder', **own}


def saved_model(init_cfg: dict | None, wanted_by: str, key: str) -> dict:
    """The model config in the pretraining checkpoint ``init_cfg.checkpoint``.

    Args:
        init_cfg: ``init_cfg`` of a detector or its backbone.
        wanted_by: class that needs the model, for errors.
        key: key of its config that is not set, for errors.

    Raises:
        KeyError: there is no checkpoint, or it has no config of a pretraining.
    """
    checkpoint = (init_cfg or {}).get('checkpoint')
    if not checkpoint:
        raise KeyError(
            f'{wanted_by}.{key} is not set; set it, or name a checkpoint that has it: '
            "init_cfg=dict(type='Pretrained', checkpoint=PATH)"
        )
    saved = read_saved_config(checkpoint)
    if 'image_encoder' not in saved.get('model', {}):
        raise KeyError(
            f'{wanted_by}.{key} is not set, and {checkpoint} has no config of a pretraining '
            f'with `model.image_encoder` to take it from; set {key} in the config'
        )
    return copy.deepcopy(without_pretrained(saved['model']))


def read_saved_detector(checkpoint: str) -> dict | None:
    """The model config in a detector's checkpoint, read without executing it.

    :func:`fill_architecture` compares it with another config and copies encoder and
    decoder from it. Do not build a model from it: it may name import paths.

    Returns:
        None if the checkpoint has no config or the config has no model.
    """
    meta = read_meta(checkpoint)
    text = meta.get('cfg')
    return parse_config_text(text, f'{checkpoint}: its config').get('model') if text else None


def draw_detections(cfg, folder: str) -> None:
    """Make mmdet's visualization hook write pictures with boxes (``--show-dir``).

    Args:
        cfg: ``Config``; changed in place.
        folder: where they go, relative to the folder of this evaluation in the work dir.

    Raises:
        KeyError: the config has no DetVisualizationHook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise KeyError(
            '--show-dir needs default_hooks.visualization=dict(type="DetVisualizationHook"), '
            'which the detection configs have'
        )
    hook.update(draw=True, test_out_dir=folder)
