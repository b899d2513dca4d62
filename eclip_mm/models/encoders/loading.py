"""Weights of a pretrained tower, and what they say of a config that does not fit them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from eclip_mm.checkpoint.file_kinds import is_safetensors, name_kind, read_head
from eclip_mm.utils.quiet import quiet_loading

#: parts of the names of config fields that may differ from those the weights were trained with
_HARMLESS = ('drop', 'mask', 'initializer')


def load_tower(
    kind: type[nn.Module], pretrained: str, changed: Mapping[str, tuple], **kwargs
) -> nn.Module:
    """Load a model of ``transformers``, all of whose parameters the files must have.

    Args:
        kind: class of the model.
        pretrained: folder, or name in the local cache.
        changed: field of the config -> its value in the folder and in our config, for errors.
        kwargs: of ``from_pretrained``.

    Raises:
        OSError: there are no weights.
        ValueError: a file is none of weights, or the weights do not fit the config.
    """
    try:
        with quiet_loading():
            model, report = kind.from_pretrained(
                pretrained, ignore_mismatched_sizes=True, output_loading_info=True, **kwargs
            )
    except Exception as error:
        for path in sorted(Path(pretrained).glob('*.safetensors')) + sorted(
            Path(pretrained).glob('*.bin')
        ):
            with open(path, 'rb') as file:
                what = None if is_safetensors(read_head(file)) else name_kind(file)
            if what is not None:
                raise ValueError(f'{path} holds no weights: it is {what}') from error
        raise
    misfits = [
        f'{name} {tuple(found)} and here {tuple(wanted)}'
        for name, found, wanted in report['mismatched_keys']
    ]
    parameters = dict(model.named_parameters())
    missing = [name for name in report['missing_keys'] if name in parameters]
    if misfits or missing:
        raise ValueError(_describe(pretrained, sorted(misfits), sorted(missing), changed))
    for field, (theirs, ours) in changed.items():
        if not any(word in field for word in _HARMLESS):
            print_log(
                f'{pretrained}: its weights were trained with {field}={theirs!r}, but config sets '
                f'{field}={ours!r}',
                logger='current',
                level=logging.WARNING,
            )
    unused = sorted({name.split('.')[0] for name in report['unexpected_keys']})
    if unused:
        print_log(
            f'{pretrained}: {len(report["unexpected_keys"])} weights are not used, of '
            f'{", ".join(unused)}',
            logger='current',
        )
    return model


def _describe(
    pretrained: str, misfits: list[str], missing: list[str], changed: Mapping[str, tuple]
) -> str:
    parts = []
    if misfits:
        parts.append(f'{len(misfits)} weights have another shape there ({_listed(misfits)})')
    if missing:
        parts.append(f'{len(missing)} weights are not there ({_listed(missing)})')
    fields = ', '.join(
        f'{field}={ours!r} here and {theirs!r} there' for field, (theirs, ours) in changed.items()
    )
    advice = (
        f'config sets {fields}. Leave out what describes the weights, or set pretrained=None to '
        'start from random ones'
        if changed
        else 'its config.json and its weights do not belong together'
    )
    return f'the weights of {pretrained!r} do not fit: {"; ".join(parts)}; {advice}'


def _listed(names: list[str]) -> str:
    return ', '.join(names[:2]) + (', ...' if len(names) > 2 else '')
