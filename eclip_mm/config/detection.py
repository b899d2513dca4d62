"""Detection configs take the architecture from the pretraining checkpoint they start from."""

import copy

from eclip_mm.checkpoint.config_text import parse_config_text, refuse_import_paths
from eclip_mm.checkpoint.metadata import read_meta, read_saved_config
from eclip_mm.config.from_checkpoint import without_pretrained


def fill_architecture(model: dict, saved: dict | None = None) -> None:
    """Fill in what the parts of a detector leave to their ``init_cfg.checkpoint``.

    ``encoder`` of every EclipBackbone, and ``decoder`` of every EclipDETR, in
    place. With it the config that is stored in the detector's own checkpoints
    stands for itself: whoever gets one needs no pretraining checkpoint.

    Args:
        model: a model's config, with detectors of any depth inside.
        saved: the model in the config of the detector's own checkpoint, which
            comes first; for evaluation.

    Raises:
        KeyError: something is open, and no checkpoint tells it.
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
    """A part of a stored config, if it names no Python object by its path."""
    refuse_import_paths(part, "the config in the detector's checkpoint")
    return part


def _name(part: dict) -> str:
    """Class of a config, without its scope."""
    return str(part.get('type')).rpartition('.')[2]


def fill_backbone(backbone: dict, init_cfg: dict | None = None) -> None:
    """``encoder`` of an EclipBackbone.

    Args:
        backbone: its config; changed in place.
        init_cfg: of the detector around it, where it has none of its own.
    """
    if backbone.get('encoder') is None:
        init_cfg = backbone.get('init_cfg') or init_cfg
        saved = saved_model(init_cfg, 'EclipBackbone', 'encoder')
        backbone['encoder'] = saved['image_encoder']


def fill_detr(model: dict) -> None:
    """``backbone.encoder`` and ``decoder`` of an EclipDETR, in place.

    A decoder that is given adds to the checkpoint's, or replaces its fields;
    one with ``embed_dims`` and ``num_blocks`` stands for itself.
    """
    fill_backbone(model['backbone'], model.get('init_cfg'))
    own = dict(model.get('decoder') or {})
    if not {'embed_dims', 'num_blocks'} <= own.keys():
        saved = saved_model(model.get('init_cfg'), 'EclipDETR', 'decoder')
        width = dict(embed_dims=saved.get('embed_dims', 512))
        own = {'num_blocks': 6, **saved.get('decoder', {}), **width, **own}
    model['decoder'] = {'type': 'InstanceDecoder', **own}


def saved_model(init_cfg: dict | None, wanted_by: str, key: str) -> dict:
    """The model of the pretraining that ``init_cfg.checkpoint`` comes from.

    Raises:
        KeyError: there is no checkpoint, or none with a config.
    """
    checkpoint = (init_cfg or {}).get('checkpoint')
    if not checkpoint:
        raise KeyError(
            f'{wanted_by}.{key} is not set; give it, or a checkpoint to take it from: '
            "init_cfg=dict(type='Pretrained', checkpoint=PATH)"
        )
    saved = read_saved_config(checkpoint)
    if 'image_encoder' not in saved.get('model', {}):
        raise KeyError(
            f'{wanted_by}.{key} is not set, and {checkpoint} holds no config of a pretraining '
            f'with `model.image_encoder` to take it from; set {key} in the config'
        )
    return copy.deepcopy(without_pretrained(saved['model']))


def read_saved_detector(checkpoint: str) -> dict | None:
    """The model in the config text of a detector's checkpoint, which is never executed.

    To be compared and copied from by :func:`fill_architecture`, which takes
    encoder and decoder alone; not to be built.
    """
    meta = read_meta(checkpoint)
    text = meta.get('cfg')
    return parse_config_text(text, f'{checkpoint}: its config').get('model') if text else None


def draw_detections(cfg, folder: str) -> None:
    """Let mmdet's visualization hook write pictures with boxes, ``--show-dir``.

    Args:
        cfg: ``Config``; changed in place.
        folder: below the work dir's folder of this evaluation.

    Raises:
        KeyError: the config has no DetVisualizationHook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise KeyError(
            '--show-dir needs default_hooks.visualization=dict(type="DetVisualizationHook"), as '
            'detection configs have it'
        )
    hook.update(draw=True, test_out_dir=folder)
