"""Weights of a pretraining checkpoint for the parts of a detector, by name, with a report."""

from collections import Counter
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from eclip_mm.checkpoint.safe_loading import read_checkpoint


@dataclass
class LoadReport:
    """What came from a checkpoint, and what did not, and why.

    Attributes:
        checkpoint: its path.
        loaded: part that was asked for -> number of tensors that it got.
        resized: position embeddings that were interpolated to another grid.
        misfits: tensors of another shape; the detector's own stay as they were.
        new: tensors that the checkpoint does not have; likewise.
        unused: names in the checkpoint, of a part that was asked for, that
            the detector has no place for.
        left: top-level part of the checkpoint -> number of tensors, of parts
            that were not asked for (heads, the teacher, ...).
    """

    checkpoint: str
    loaded: dict[str, int] = field(default_factory=dict)
    resized: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ', '.join(f'{part} {count}' for part, count in self.loaded.items())
        lines = [f'{self.checkpoint}: loaded tensors: {counts}']
        for title, names in (
            ('position embeddings resized', self.resized),
            ('of another shape, not loaded', self.misfits),
            ('not in the checkpoint, initialised anew', self.new),
            ('in the checkpoint, without a place here', self.unused),
        ):
            if names:
                lines.append(f'  {title}: {_listed(names)}')
        if self.left:
            left = ', '.join(f'{part} {count}' for part, count in self.left.items())
            lines.append(f'  not asked for, left: {left}')
        return '\n'.join(lines)


def load_pretrained(
    parts: dict[str, nn.Module], checkpoint: str, prefix: str = 'network.'
) -> LoadReport:
    """Copy weights of a pretraining checkpoint into parts of a detector.

    Args:
        parts: name in the pretrained network (``image_encoder``,
            ``image_proj``, ``decoder``; ``text_encoder`` and ``text_proj`` for
            ``class_prompts``) -> module that takes its weights.
        checkpoint: path of a pretraining checkpoint.
        prefix: of the network in the checkpoint: ``network.`` is the student,
            ``teacher.network.`` the momentum model.

    Returns:
        What was loaded and what was not; logged as well.

    Raises:
        KeyError: the checkpoint has no network of this prefix.
        ValueError: not one tensor of a part fits, though the checkpoint has
            the part.
    """
    state = read_checkpoint(checkpoint)
    state = state.get('state_dict', state)
    if not any(name.startswith(f'{prefix}{part}.') for name in state for part in parts):
        found = sorted({'.'.join(name.split('.')[:2]) for name in state})[:8]
        raise KeyError(
            f'{checkpoint} has no weights named {prefix}{"|".join(parts)}.*; is it a pretraining '
            "checkpoint? Set init_cfg.prefix ('network.' or 'teacher.network.'). It begins with "
            f'{", ".join(found)}'
        )
    report = LoadReport(str(checkpoint))
    for part, module in parts.items():
        own = {
            name[len(f'{prefix}{part}.') :]: value
            for name, value in state.items()
            if name.startswith(f'{prefix}{part}.')
        }
        _load_part(part, module, own, report)
    wanted = tuple(f'{prefix}{part}.' for part in parts)
    others = Counter(_part_of(name, prefix) for name in state if not name.startswith(wanted))
    report.left = dict(sorted(others.items()))
    print_log(str(report), logger='current')
    return report


def _load_part(part: str, module: nn.Module, weights: dict[str, Tensor], report: LoadReport):
    if hasattr(module, 'rename_weights'):  # an encoder, perhaps of another transformers
        module.rename_weights(weights)
    fitting = {}
    target = module.state_dict()
    for name, value in target.items():
        found = weights.get(name)
        if found is None:
            report.new.append(f'{part}.{name}')
            continue
        if found.shape != value.shape and name.endswith('position_embeddings'):
            resized = resize_positions(found, value.shape)
            if resized is not None:
                report.resized.append(
                    f'{part}.{name} {tuple(found.shape)} -> {tuple(value.shape)}'
                )
                found = resized
        if found.shape == value.shape:
            fitting[name] = found
        else:
            report.misfits.append(f'{part}.{name} {tuple(found.shape)}, here {tuple(value.shape)}')
    if weights and not fitting:
        raise ValueError(
            f'{report.checkpoint}: none of its {len(weights)} tensors of {part!r} fits. Leave the '
            'architecture out of the config, then it is taken from the checkpoint. '
            f'Misfits: {_listed(report.misfits) or "no name in common"}'
        )
    module.load_state_dict(fitting, strict=False)
    report.loaded[part] = len(fitting)
    report.unused += [f'{part}.{name}' for name in weights if name not in target]


def resize_positions(embeddings: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Position embeddings of one square patch grid for another.

    Args:
        embeddings: (1, P + g * g, C), P tokens (class, distillation) first.
        shape: (1, P + h * h, C), the wanted shape.

    Returns:
        Of the wanted shape, bicubic between patches; None where the two are
        not of this form.
    """
    if embeddings.ndim != 3 or embeddings.shape[2] != shape[2]:
        return None
    for num_prefix in (0, 1, 2):
        old, new = (round((n - num_prefix) ** 0.5) for n in (embeddings.shape[1], shape[1]))
        if (old**2, new**2) == (embeddings.shape[1] - num_prefix, shape[1] - num_prefix):
            break
    else:
        return None
    prefix, patches = embeddings[:, :num_prefix], embeddings[:, num_prefix:]
    grid = patches.unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (new, new), mode='bicubic', align_corners=False, antialias=True)
    return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)


def _part_of(name: str, prefix: str) -> str:
    """``text_encoder`` of ``network.text_encoder.model...``; ``teacher`` of what is in it."""
    return (name[len(prefix) :] if name.startswith(prefix) else name).split('.')[0]


def _listed(names: list[str]) -> str:
    more = len(names) - 6
    return ', '.join(names[:6]) + (f' and {more} more' if more > 0 else '')
