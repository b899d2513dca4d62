"""Pooling of checkpoints that were written before the towers had rules of their own.

Their metadata has no ``pooling``. They were trained with the class token where the vision model
gives one, else with the mean of its last tokens, and with the first token of a text.
"""

from torch import nn

_CLS = ('clip_vision_model', 'chinese_clip_vision_model', 'metaclip_2_vision_model')
_MEAN = ('convnext', 'convnextv2', 'siglip_vision_model')
#: families of vision models whose rule has changed -> what it was
OLD_IMAGE_POOLING = {**dict.fromkeys(_CLS, 'cls'), **dict.fromkeys(_MEAN, 'mean')}


def find_old_rules(name: str, saved: dict) -> dict:
    """Options of an encoder that a checkpoint was trained with, where they were not written.

    Args:
        name: ``image_encoder`` or ``text_encoder``.
        saved: what the checkpoint's ``meta['encoders']`` holds of it.

    Returns:
        Empty for a checkpoint that has its rules, and for families whose rule is the same.
    """
    if 'pooling' in saved:
        return {}
    if name == 'text_encoder':
        return dict(pooling='cls', padding='longest', use_mask=True)
    pooling = OLD_IMAGE_POOLING.get(saved.get('model_type'))
    return {} if pooling is None else dict(pooling=pooling)


def use_old_rules(model: dict, encoders: dict[str, dict]) -> None:
    """Set the options of :func:`find_old_rules` in a model's config, in place.

    Args:
        model: config of an ``ECLIP``. Options that it sets are kept.
        encoders: ``meta['encoders']`` of a checkpoint.
    """
    for name, saved in encoders.items():
        part = model.get(name)
        kind = str(part.get('type')).rpartition('.')[2] if isinstance(part, dict) else None
        if kind not in ('TransformersImageEncoder', 'TransformersTextEncoder'):
            continue
        for option, value in find_old_rules(name, saved).items():
            if part.get(option) is None:
                part[option] = value


def check_old_rules(model: nn.Module, encoders: dict[str, dict]) -> None:
    """Check that a built model has the features that a checkpoint was trained with.

    Args:
        model: an ``ECLIP``; other models pass.
        encoders: ``meta['encoders']`` of the checkpoint.

    Raises:
        ValueError: an old checkpoint was trained with another pooling.
    """
    for name, saved in encoders.items():
        encoder = getattr(getattr(model, 'network', None), name, None)
        for option, value in find_old_rules(name, saved).items():
            if getattr(encoder, option, value) != value:
                raise ValueError(
                    f'the checkpoint is of an older version, which trained its {name} '
                    f'({saved.get("model_type")!r}) with {option}={value!r}; this model has '
                    f'{option}={getattr(encoder, option)!r}. Set model.{name}.{option}={value!r}'
                )
