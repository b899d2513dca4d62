"""Weights of towers under the parameter names of any version of ``transformers``.

A ViT layer is ``encoder.layer.0.attention.attention.query`` in version 4 and
``layers.0.attention.q_proj`` in 5.24. ``from_pretrained`` renames; checkpoints
of this package are loaded by others, which do not. Both spellings are brought
to one here and compared there, so that either version reads the other's files.
"""

import re

import torch
import transformers
from torch import Tensor, nn

#: pattern -> replacement, one after the other, for the names inside of a tower
CANONICAL = (
    (r'^(vision_model|text_model)\.', ''),  # around CLIP's and SigLIP's towers
    (r'^(encoder\.|model\.)?layer\.', 'layers.'),
    (r'^(model\.)?stages\.', 'stages.'),
    (r'\.attention\.(attention|self)\.', '.attention.'),
    (r'\.attention\.query\.', '.attention.q_proj.'),
    (r'\.attention\.key\.', '.attention.k_proj.'),
    (r'\.attention\.value\.', '.attention.v_proj.'),
    (r'\.attention\.output\.dense\.', '.attention.o_proj.'),
    (r'\.intermediate\.dense\.', '.mlp.fc1.'),
    (r'\.output\.dense\.', '.mlp.fc2.'),
    (r'\.attention\.relative_position_bias\.', '.attention.'),
    (r'\.mlp\.weights_out\.', '.mlp.down_proj.'),
)
#: of a DINOv2 giant, version 4 has in one tensor what version 5 has in two
JOINED = re.compile(r'(.*\.mlp\.)weights_in(\.\w+)$')
#: buffers that follow from the config; version 4 saves them, version 5 does not
DERIVED = 'relative_position_index'


def canonical_name(name: str) -> str:
    """One spelling of a parameter's name inside of a tower."""
    for pattern, replacement in CANONICAL:
        name = re.sub(pattern, replacement, name)
    return name


def rename_weights(state_dict: dict[str, Tensor], tower: nn.Module, prefix: str = '') -> None:
    """Give weights of a tower the names that the installed ``transformers`` has, in place.

    Names that fit as they are, and those that fit nowhere, stay.

    Args:
        state_dict: with the weights of the tower, and perhaps others.
        tower: a model of ``transformers``.
        prefix: of its weights in ``state_dict``.
    """
    found = {name[len(prefix) :] for name in state_dict if name.startswith(prefix)}
    own = tower.state_dict(keep_vars=True)
    if not found or found == own.keys():
        return
    places = {canonical_name(name): name for name in own}
    for name in found - own.keys():
        value = state_dict.pop(prefix + name)
        joined = JOINED.match(name)
        if joined and name not in places.values():
            parts = [f'{joined[1]}{part}{joined[2]}' for part in ('gate_proj', 'up_proj')]
            values = dict(zip(parts, value.chunk(2), strict=True))
        elif name.endswith(DERIVED):
            continue
        else:
            values = {name: value}
        for part, part_value in values.items():
            state_dict[prefix + places.get(canonical_name(part), part)] = part_value
    for name in own:
        joined = JOINED.match(name)
        if joined and prefix + name not in state_dict:
            parts = [f'{prefix}{joined[1]}{p}{joined[2]}' for p in ('gate_proj', 'up_proj')]
            if all(part in state_dict for part in parts):
                state_dict[prefix + name] = torch.cat([state_dict.pop(part) for part in parts])
        elif name.endswith(DERIVED):
            state_dict.setdefault(prefix + name, own[name])


def fit_towers(
    model: nn.Module, state_dict: dict[str, Tensor], version: str | None, resumes: bool
) -> None:
    """Rename the weights of all towers before a model loads them, in place.

    An encoder renames its own weights when it loads them. For a sharded model
    that is too late: it divides the weights by their names before.

    Args:
        model: a model whose encoders have ``rename_weights`` and ``model``.
        state_dict: the weights of a checkpoint, in the order of the file.
        version: version of ``transformers`` that wrote the checkpoint; None if
            it is not known.
        resumes: whether the state of the optimiser is loaded as well. It has
            numbers instead of names, so the order of the parameters must be
            the same.

    Raises:
        ValueError: the order is another one.
    """
    for name, encoder in model.named_modules():
        if not hasattr(encoder, 'rename_weights'):
            continue
        prefix = f'{name}.model.'
        saved = [key[len(prefix) :] for key in state_dict if key.startswith(prefix)]
        orders = [
            [canonical_name(key) for key in keys if not key.endswith(DERIVED)]
            for keys in (saved, encoder.model.state_dict(keep_vars=True))
        ]
        if resumes and orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
            raise ValueError(
                f'the checkpoint is of transformers {version or "of an unknown version"}, which '
                f'has the parameters of {name} in another order than the installed '
                f'{transformers.__version__}: the state of the optimiser would go to the wrong '
                'ones. Resume with the version of the checkpoint, or start a new training from '
                'its weights (load_from without resume)'
            )
        encoder.rename_weights(state_dict, f'{name}.')
