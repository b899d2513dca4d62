"""Weights of a checkpoint that do not fit a model."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

#: pattern in the name of a weight -> the setting that its shape follows from
_SETTINGS = (
    (r'word_embeddings|token_embedding|embed_tokens', 'text_encoder.config.vocab_size'),
    (r'text_encoder\..*position_embedding', 'text_encoder.config.max_position_embeddings'),
    (r'position_embedding', 'image_size or patch_size of image_encoder.config'),
    (r'patch_embed', 'patch_size or width of image_encoder.config'),
    (r'queue|ring_|averages', 'the size of a queue, or num_queries'),
    (r'fc_cls|retina_cls|class_embed', 'num_classes'),
    (r'_proj\.', 'embed_dims, or the width of an encoder'),
    (r'(image|text)_encoder', r'the width of \1_encoder.config'),
    (r'decoder|queries', 'embed_dims'),
)


def check_fit(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    all_of_them: bool,
    prefix: str = '',
) -> None:
    """Check that the weights of a checkpoint have the shapes of a model's.

    mmengine logs what does not fit and goes on without it.

    Args:
        model: with the wanted shapes.
        state_dict: weights, perhaps with the prefix ``module.`` of DDP.
        all_of_them: whether every parameter must be there. Otherwise at least one.
        prefix: of the names that count; a new training begins without the others.

    Raises:
        ValueError: shapes differ, or weights are not there.
    """
    found = {re.sub(r'^module\.', '', name): value for name, value in state_dict.items()}
    parameters = dict(model.named_parameters(remove_duplicate=False))  # frozen ones are shared
    own = parameters | dict(model.named_buffers(remove_duplicate=False))
    own = {name: value for name, value in own.items() if name.startswith(prefix)}
    misfits = [
        name
        for name in own
        if isinstance(found.get(name), Tensor) and found[name].shape != own[name].shape
    ]
    if misfits:
        hints = {name: hint for name in misfits if (hint := _setting_of(name))}
        first = next(iter(hints), misfits[0])
        hint = f' (it follows from {hints[first]})' if hints else ''
        raise ValueError(
            f'{len(misfits)} weights of the checkpoint have other shapes than here: '
            f'{first} has {tuple(found[first].shape)} there and {tuple(own[first].shape)} here'
            f'{hint}. Set the config as it was in the training of the checkpoint, or start '
            'without these weights'
        )
    names = [name for name in own if name in parameters]
    missing = [name for name in names if name not in found]
    if missing and (all_of_them or len(missing) == len(names)):
        shown = ', '.join(list(found)[:3]) or 'nothing'
        raise ValueError(
            f'{len(missing)} of {len(names)} weights of this model are not in the checkpoint, '
            f'such as {missing[0]}; it has {shown}, ...'
        )


def _setting_of(name: str) -> str | None:
    for pattern, setting in _SETTINGS:
        found = re.search(pattern, name)
        if found:
            return found.expand(setting)
    return None
