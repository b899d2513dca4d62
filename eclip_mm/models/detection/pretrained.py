"""Loading weights of a pretraining checkpoint into parts of a detector, with a report."""

from collections import Counter
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from eclip_mm.checkpoint.safe_loading import read_checkpoint


@dataclass
class LoadReport:
    """What was loaded from a checkpoint, what was not, and why.

    Attributes:
        checkpoint: its path.
        loaded: requested part -> number of tensors loaded into it.
        resized: position embeddings that were interpolated to another grid.
        misfits: tensors of another shape; the detector keeps its own.
        new: tensors that the checkpoint does not have; the detector keeps its
            own.
        unused: names in requested parts of the checkpoint that the detector
            does not have.
        left: top-level part of the checkpoint that was not requested (heads,
            the teacher, ...) -> number of tensors in it.
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
            ('not in the checkpoint, keeping their initial values', self.new),
            ('in the checkpoint, but not in this model', self.unused),
        ):
            if names:
                lines.append(f'  {title}: {_listed(names)}')
        if self.left:
            left = ', '.join(f'{part} {count}' for part, count in self.left.items())
            lines.append(f'  not requested: {left}')
        return '\n'.join(lines)


def load_pretrained(
    parts: dict[str, nn.Module], checkpoint: str, prefix: str = 'network.'
) -> LoadReport:
    """Copy weights of a pretraining checkpoint into parts of a detector.

    Args:
        parts: name in the pretrained network (``image_encoder``,
            ``image_proj``, ``decoder``; ``text_encoder`` and ``text_proj`` for
            ``class_prompts``) -> module to load its weights into.
        checkpoint: path of a pretraining checkpoint.
        prefix: of the network in the checkpoint: ``network.`` is the student,
            ``teacher.network.`` the momentum model.

    Returns:
        What was loaded and what was not; it is logged as well.

    Raises:
        KeyError: the checkpoint has no network with this prefix.
        ValueError: the checkpoint has a part, but none of its tensors fits.
    """
    state = read_checkpoint(checkpoint)
    state = state.get('state_dict', state)
    if not any(name.startswith(f'{prefix}{part}.') for name in state for part in parts):
        found = sorted({'.'.join(name.split('.')[:2]) for name in state})[:8]
        raise KeyError(
            f'{checkpoint} has no weights named {prefix}{"|".join(parts)}.*; is it a pretraining '
            "checkpoint? Set init_cfg.prefix ('network.' or 'teacher.network.'). Its names begin "
            f'with {", ".join(found)}'
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
            'architecture out of the config to take it from the checkpoint. '
            f'Misfits: {_listed(report.misfits) or "no name in common"}'
        )
    module.load_state_dict(fitting, strict=False)
    report.loaded[part] = len(fitting)
    report.unused += [f'{part}.{name}' for name in weights if name not in target]


def resize_positions(embeddings: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Interpolate position embeddings from one square patch grid to another.

    Args:
        embeddings: (1, P + g * g, C), P tokens (class, distillation) first.
        shape: (1, P + h * h, C), the wanted shape.

    Returns:
        Embeddings of the wanted shape, bicubic between patches; None if the
        shapes are not of this form.
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
    """Top-level part of a weight, such as ``text_encoder``, or ``teacher`` outside the prefix."""
    return (name[len(prefix) :] if name.startswith(prefix) else name).split('.')[0]


def _listed(names: list[str]) -> str:
    more = len(names) - 6
    return ', '.join(names[:6]) + (f' and {more} more' if more > 0 else '')
