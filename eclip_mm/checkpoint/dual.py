"""A checkpoint of a model that began as a dual encoder (``pretrained_dual``) stands alone."""

import copy

from torch import nn


def dual_options(model: nn.Module) -> dict[str, dict]:
    """Under ``model``, the options that ``pretrained_dual`` stood for; empty without one."""
    if not getattr(getattr(model, 'network', None), 'from_dual', False):
        return {}
    return dict(model=model.network.options() | dict(max_logit_scale=model.max_logit_scale))


def use_saved_dual(model: dict, encoders: dict[str, dict]) -> None:
    """Replace ``pretrained_dual`` by two encoders and their projections, in place.

    Args:
        model: config of an ``ECLIP``.
        encoders: what a checkpoint holds of them, ``meta['encoders']``.
    """
    if not model.get('pretrained_dual') or 'model' not in encoders:
        return
    saved = copy.deepcopy(encoders)
    for name, options in saved['model'].items():
        if model.get(name) is None:
            model[name] = options
    for name in ('image_encoder', 'text_encoder'):
        model[name].update(saved[name])
    model['pretrained_dual'] = None
