"""What the config of a detector leaves open: it follows from the data and the backbone."""

import copy
import os
from collections.abc import Iterator

import torch
from mmengine.config import Config

from eclip_mm.datasets.converters.coco_check import read_categories
from eclip_mm.registry import MODELS


def complete_detector(cfg: Config, saved: dict | None = None) -> None:
    """Fill in what a detector's config leaves as None, in place.

    - ``num_classes`` of every head, from the data set's ``metainfo.classes`` or
      the categories of its COCO file; ``class_prompts=True`` of an EclipDETR
      becomes that file.
    - ``in_channels`` of a SimpleFPN, ``anchor_generator.strides`` and
      ``featmap_strides``, from an EclipBackbone.
    - ``ann_file`` of the evaluators, and everything of the test, from the
      validation.

    Args:
        cfg: with the architecture of :func:`fill_architecture`; a config
            without ``model.backbone`` is left as it is.
        saved: for evaluation, the model config in the detector's own
            checkpoint, whose classes are then those of the training.

    Raises:
        ValueError: nothing says what is left open; the message names the key.
    """
    if 'backbone' not in cfg.get('model', {}):
        return
    _complete_evaluation(cfg)
    _complete_classes(cfg, saved or {})
    _complete_levels(cfg.model)


def _complete_evaluation(cfg: Config) -> None:
    for name, other in (('val', None), ('test', 'val')):
        for part in ('dataloader', 'evaluator'):
            if other and cfg.get(f'{name}_{part}') is None and cfg.get(f'{other}_{part}'):
                cfg[f'{name}_{part}'] = copy.deepcopy(cfg[f'{other}_{part}'])
        if other and cfg.get(f'{name}_dataloader') and cfg.get(f'{name}_cfg') is None:
            cfg[f'{name}_cfg'] = dict(type='TestLoop')
        evaluators, loader = cfg.get(f'{name}_evaluator'), cfg.get(f'{name}_dataloader')
        for evaluator in evaluators if isinstance(evaluators, list) else [evaluators or {}]:
            if 'ann_file' in evaluator and evaluator['ann_file'] is None and loader:
                evaluator['ann_file'] = _file_of(loader.dataset)


def _complete_classes(cfg: Config, saved: dict) -> None:
    if cfg.model.get('class_prompts') is True:
        cfg.model.class_prompts = _file_of(cfg.train_dataloader.dataset)
    for part, old in _parts(cfg.model, saved):
        if 'num_classes' not in part or part['num_classes'] is not None:
            continue
        part['num_classes'] = (old or {}).get('num_classes') or _count_classes(cfg)


def _count_classes(cfg: Config) -> int:
    for name in ('train', 'val', 'test'):
        dataset = (cfg.get(f'{name}_dataloader') or {}).get('dataset')
        if dataset is None:
            continue
        inner = _innermost(dataset)
        if classes := (inner.get('metainfo') or {}).get('classes'):
            return len(classes)
        if inner.get('ann_file'):
            return len(read_categories(_file_of(dataset), inner.get('backend_args')))
    raise ValueError(
        'num_classes is not set, and no data set says it: set train_dataloader.dataset.ann_file '
        'to a COCO file, or num_classes of the head'
    )


def _innermost(dataset: dict) -> dict:
    """The data set inside of wrappers; of several, the first."""
    while inner := dataset.get('dataset') or (dataset.get('datasets') or [None])[0]:
        dataset = inner
    return dataset


def _file_of(dataset: dict) -> str:
    """Path of the COCO file of a data set, as mmdet joins it."""
    inner = _innermost(dataset)
    path = inner.get('ann_file')
    if not path:
        raise ValueError(f'dataset.ann_file of {inner.get("type")} is not set: it is a COCO file')
    return os.path.join(inner.get('data_root') or '', path)


def _complete_levels(model: dict) -> None:
    wanted = [
        (part, key)
        for part, _ in _parts(model, {})
        for key in ('strides', 'featmap_strides', 'in_channels')
        if key in part and part[key] is None
    ]
    if not wanted:
        return
    backbone = model['backbone']
    if str(backbone.get('type')).rpartition('.')[2] != 'EclipBackbone':
        raise ValueError(
            f'{wanted[0][1]}=None follows from an EclipBackbone, but the backbone is '
            f'{backbone.get("type")!r}: set it'
        )
    with torch.random.fork_rng(devices=[]):  # the detector's own weights are drawn as ever
        built = MODELS.build(dict(backbone, type='EclipBackbone', init_cfg=None))
    neck = model.get('neck') or {}
    scales = list(neck.get('scales', (4, 2, 1, 0.5) if neck else (1,)))
    strides = [built.strides[-1] / scale for scale in scales]
    num_scales = len(scales)
    while len(strides) < neck.get('num_outs', 5 if neck else 1):
        strides.append(2 * strides[-1])
    strides = [int(stride) if stride == int(stride) else stride for stride in strides]
    for part, key in wanted:
        part[key] = {
            'strides': strides,
            'featmap_strides': strides[:num_scales],
            'in_channels': built.embed_dims * built.num_maps,
        }[key]


def _parts(model: dict, saved: dict) -> Iterator[tuple[dict, dict]]:
    """Every dict of a model's config, with what another config has in its place."""
    yield model, saved
    for key, value in model.items():
        other = saved.get(key) if isinstance(saved, dict) else None
        if isinstance(value, dict):
            yield from _parts(value, other or {})
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                if isinstance(part, dict):
                    has = isinstance(other, (list, tuple)) and index < len(other)
                    yield from _parts(part, other[index] if has else {})
