"""Low-rank adapters (LoRA) in the blocks of a tower, through ``peft``."""

import re
from collections import defaultdict

import torch
from mmengine.logging import print_log
from torch import nn

from eclip_mm.models.encoders.layer_groups import LayerGroup
from eclip_mm.utils.env_check import check_lora

NUMBER = r'\.(\d+)\.'
OPTIONS = dict(r=8, alpha=16, dropout=0.0)


def add_lora(encoder: nn.Module, name: str, options: dict) -> None:
    """Give every Linear in the blocks of a tower an adapter, and train these alone.

    W x becomes W x + alpha / r * B A dropout(x), with A (r, in) and B (out, r), which begins at 0
    (Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021). Layer groups that are
    frozen get none. What has an adapter keeps its own dropout in training, all other parts stay
    in eval mode.

    Args:
        encoder: changed in place; its parts are frozen before, see
            ``TransformersEncoder.freeze``.
        name: of the option, for messages.
        options: ``r``, ``alpha`` and ``dropout``; those left out are
            :data:`OPTIONS`.

    Raises:
        EnvironmentCheckError: ``peft`` is not installed.
        KeyError: an unknown option.
        ValueError: a value outside its range, or no Linear to adapt.
    """
    options = _checked(name, options)
    check_lora()
    # here: importing it takes seconds
    from peft import LoraConfig, inject_adapter_in_model

    encoder.freeze(max(encoder.num_frozen, 1))
    model, groups = encoder.model, encoder.layer_groups()[encoder.num_frozen :]
    linears = _find_linears(model, groups)
    if not linears:
        reason = 'all of its layer groups are frozen'
        if groups:
            reason = 'its trained blocks have no Linear (convolutions get no adapters)'
        raise ValueError(
            f'{name}: {type(model).__name__} has nothing to adapt: {reason}. Leave {name} out, or '
            'freeze fewer layer groups'
        )
    config = LoraConfig(
        r=options['r'],
        lora_alpha=options['alpha'],
        lora_dropout=options['dropout'],
        target_modules=linears,
    )
    total = sum(param.numel() for param in model.parameters())
    inject_adapter_in_model(config, model)
    encoder.keep_base()
    trained = sum(param.numel() for param in model.parameters() if param.requires_grad)
    encoder.lora_scaling = torch.tensor(options['alpha'] / options['r'])
    print_log(
        f'{name}: adapters of rank {options["r"]} in {len(linears)} Linears of '
        f'{type(model).__name__}, {trained:,} trained parameters beside {total:,}: '
        f'{", ".join(summarize(linears))}',
        logger='current',
    )


def _checked(name: str, options: dict) -> dict:
    unknown = sorted(options.keys() - OPTIONS.keys())
    if unknown:
        raise KeyError(f'{name} has unknown keys {unknown}; known: {", ".join(OPTIONS)}')
    options = {**OPTIONS, **options}
    if type(options['r']) is not int or options['r'] < 1:
        raise ValueError(f'{name}.r has to be a whole number of at least 1, got {options["r"]!r}')
    if not options['alpha'] > 0:
        raise ValueError(f'{name}.alpha has to be above 0, got {options["alpha"]!r}')
    if not 0 <= options['dropout'] < 1:
        raise ValueError(f'{name}.dropout has to lie in [0, 1), got {options["dropout"]!r}')
    return options


def _find_linears(model: nn.Module, groups: list[LayerGroup]) -> list[str]:
    """Names of the Linears in the layers among ``groups``."""
    names = {id(module): name for name, module in model.named_modules()}
    layers = [group for group in groups if group.name.startswith('layer')]
    modules = [module for group in layers for module in group.modules]
    inner = [m for module in modules for m in module.modules()]
    return [names[id(m)] for m in inner if isinstance(m, nn.Linear)]


def summarize(names: list[str]) -> list[str]:
    """Names that differ in numbers only, together: ``layers.0-11.mlp.fc1``."""
    kinds = defaultdict(list)
    for name in names:
        kinds[re.sub(NUMBER, '.#.', name)].append([int(n) for n in re.findall(NUMBER, name)])
    lines = []
    for kind, numbers in kinds.items():
        spans = [sorted(set(column)) for column in zip(*numbers, strict=True)]
        texts = [str(s[0]) if len(s) == 1 else f'{s[0]}-{s[-1]}' for s in spans]
        for text in texts:
            kind = kind.replace('#', text, 1)
        lines.append(kind)
    return lines


def is_adapter(name: str) -> bool:
    """Whether a parameter's name is that of an adapter's weight."""
    return '.lora_' in name


def unadapted_parts(groups: list[LayerGroup]) -> list[nn.Module | nn.Parameter]:
    """What training leaves as it is in groups of a tower with adapters.

    Groups without adapters are whole modules. Of the others it is the parameters, and the
    normalisations that would count along.
    """
    parts = []
    for group in groups:
        parts += group.loose
        for module in group.modules:
            named = list(module.named_parameters())
            if not any(is_adapter(name) for name, _ in named):
                parts.append(module)
                continue
            parts += [param for name, param in named if not is_adapter(name)]
            norms = nn.modules.batchnorm._BatchNorm
            parts += [inner for inner in module.modules() if isinstance(inner, norms)]
    return parts
