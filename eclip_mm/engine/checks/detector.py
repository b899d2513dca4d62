"""Whether a detector fits its data, and its anchors its maps."""

import json
import math
from collections.abc import Iterator, Mapping

import torch
from mmengine.fileio import get_text
from torch import nn


def check_classes(model: nn.Module, datasets: Mapping) -> None:
    """Check that labels mean the same in model, training and validation.

    Args:
        model: a detector; a model without ``num_classes`` passes.
        datasets: ``train``, ``val``, ``test`` -> data set.

    Raises:
        ValueError: a head has another number of classes than the data, or the classes of two
            data sets differ or are in another order.
    """
    named = [
        (f'{name}_dataloader', part, label_names(part))
        for name, dataset in datasets.items()
        for part in _parts(dataset)
    ]
    named = [(key, part, names) for key, part, names in named if names]
    for key, part, names in named[1:]:
        first_key, first, first_names = named[0]
        if names != first_names:
            raise ValueError(
                f'the classes of {key} ({getattr(part, "ann_file", "")}) are not those of '
                f'{first_key} ({getattr(first, "ann_file", "")}): '
                f'{_difference(names, first_names)}. The label of a box is the place of its '
                'class: write the categories of both files in the same order, or set '
                'dataset.metainfo.classes of both'
            )
    for name, module in model.named_modules() if named else ():
        count = getattr(module, 'num_classes', None)
        # an RPN knows no classes; other parts, such as losses, follow from their head
        if not isinstance(count, int) or _is_rpn(module) or not name.endswith('head'):
            continue
        key, part, names = named[0]
        if count != len(names):
            raise ValueError(
                f'model.{name}.num_classes={count}, but {key} ({getattr(part, "ann_file", "")}) '
                f'has {len(names)} classes: set model.{name}.num_classes={len(names)}'
            )


def _is_rpn(module: nn.Module) -> bool:
    return any(kind.__name__ == 'RPNHead' for kind in type(module).__mro__)


def _difference(names: tuple, others: tuple) -> str:
    if set(names) == set(others):
        place = [a == b for a, b in zip(names, others, strict=True)].index(False)
        return f'class {place} is {names[place]!r} there and {others[place]!r} here'
    extra, missing = (sorted(set(a) - set(b))[:3] for a, b in ((names, others), (others, names)))
    return f'{len(names)} and {len(others)} classes, {extra} only there, {missing} only here'


def _parts(dataset) -> Iterator:
    """Data sets inside of wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner[0] is None:
        yield dataset
    else:
        for part in inner:
            yield from _parts(part)


def label_names(dataset) -> tuple[str, ...]:
    """Name of each label of a detection data set, in the order of the labels.

    mmdet's COCO data sets number the classes in the order of the file, whatever order the config
    names them in; those of ``CocoProducts`` are in the order that the config names.
    """
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
    cat2label, path = getattr(dataset, 'cat2label', None), getattr(dataset, 'ann_file', None)
    if not cat2label or not path or getattr(dataset, 'labels_are_classes', False):
        return tuple(names)
    name_of = {c['id']: c['name'] for c in json.loads(get_text(path))['categories']}
    return tuple(name_of[i] for i in sorted(cat2label, key=cat2label.get) if i in name_of)


def check_strides(model: nn.Module) -> None:
    """Check that anchors lie on the cells of the maps that they are for, by trying.

    Args:
        model: a detector of mmdet; other models pass.

    Raises:
        ValueError: a head has other strides, or another number of them, than the backbone and
            neck give.
    """
    if not hasattr(model, 'extract_feat') or not hasattr(model, 'backbone'):
        return
    claims = list(_claims(model))
    if not claims:
        return
    parameter = next(model.parameters())
    side = _side([stride for _, strides in claims for stride in strides], model.backbone)
    training = model.training
    try:
        with torch.no_grad():
            maps = model.eval().extract_feat(torch.zeros(1, 3, side, side).to(parameter))
    finally:
        model.train(training)
    found = [side / level.shape[-1] for level in maps]
    for name, strides in claims:
        used = found[: len(strides)] if name.endswith('featmap_strides') else found
        fits = len(used) == len(strides) and all(
            abs(real / stride - 1) < 0.1 for real, stride in zip(used, strides, strict=True)
        )
        if not fits:
            shown = [round(real, 1) for real in used]
            raise ValueError(
                f'model.{name}={list(strides)}, but the cells of the maps of backbone and neck '
                f'cover {shown} pixels: anchors would have other sizes and places than meant. Set '
                f'them to {[round(real) for real in found[: len(used)]]}'
            )


def _claims(model: nn.Module) -> Iterator[tuple[str, list[float]]]:
    """Key of the config -> strides that a part of a detector expects."""
    for name, module in model.named_modules():
        generator = getattr(module, 'prior_generator', None)
        if generator is not None and hasattr(generator, 'strides'):
            strides = [max(s) if isinstance(s, tuple) else s for s in generator.strides]
            key = 'rpn_head' if _is_rpn(module) else name  # an RPN detector calls it bbox_head
            yield f'{key}.anchor_generator.strides', strides
        if hasattr(module, 'featmap_strides'):
            yield f'{name}.featmap_strides', list(module.featmap_strides)


def _side(strides: list[float], backbone: nn.Module) -> int:
    """Side of a small picture that the cells of all levels divide if possible."""
    own = getattr(backbone, 'strides', (32,))
    cells = own[-1] if isinstance(own, (tuple, list)) and isinstance(own[-1], int) else 32
    largest = max(strides)
    side = math.lcm(cells, *(round(stride) for stride in strides if stride >= 1))
    if side > 16 * largest:  # the strides do not fit each other: whole cells of the backbone
        side = cells
    return side * math.ceil(4 * largest / side)
