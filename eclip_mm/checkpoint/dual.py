"""A checkpoint of a model that began as a dual encoder (``pretrained_dual``) stands alone."""

import copy

from torch import nn


def dual_options(model: nn.Module) -> dict[str, dict]:
    """Under ``model``, the options that stand for ``pretrained_dual`` once there are weights.

    Every ``ECLIP`` has them, since one that is resumed does not know any more that it began as
    a dual encoder; :func:`use_saved_dual` reads them only where a config has ``pretrained_dual``.
    Other models give an empty dict.
    """
    options = getattr(getattr(model, 'network', None), 'options', None)
    if options is None:
        return {}
    bias = model.logit_bias
    scale = dict(
        init_logit_scale=model.init_logit_scale,
        init_logit_bias=None if bias is None else bias.item(),
        max_logit_scale=model.max_logit_scale,
    )
    return dict(model=options() | scale)


def use_saved_dual(model: dict, encoders: dict[str, dict]) -> None:
    """Replace ``pretrained_dual`` by two encoders and their projections, in place.

    Args:
        model: config of an ``ECLIP``.
        encoders: what a checkpoint holds of them, ``meta['encoders']``.
    """
    if not model.get('pretrained_dual') or 'model' not in encoders:
        return
    saved = copy.deepcopy(encoders)
    if model.get('init_logit_scale') is None:  # the limit is raised to that of the dual encoder
        limits = model.get('max_logit_scale'), saved['model']['max_logit_scale']
        model['max_logit_scale'] = max(limit for limit in limits if limit is not None)
    for name, options in saved['model'].items():
        if model.get(name) is None:
            model[name] = options
    for name in ('image_encoder', 'text_encoder'):
        model[name].update(saved[name])
    model['pretrained_dual'] = None
