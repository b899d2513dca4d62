"""``adapt_to`` of a config: all that follows from a catalogue and the pretrained towers."""

import math

import numpy as np
from mmengine.logging import print_log
from transformers import AutoConfig

from eclip_mm.datasets import Catalogue, read_catalogue
from eclip_mm.models.encoders.preprocessing import read_preprocessing
from eclip_mm.registry import FUNCTIONS

#: ViTs that interpolate their positions to any size
FREE = ('dinov2', 'dinov2_with_registers', 'dinov3_vit')
KEYS = ('train', 'val', 'image_size', 'max_length', 'steps', 'batch_size')
#: of a training with frozen towers, in which a step takes a tenth of a second
STEPS, BATCH_SIZE, NUM_QUERIES = 600, 64, 20


@FUNCTIONS.register_module()
def adapt_to_catalogue(cfg) -> None:
    """Fill in what ``adapt_to`` decides, in place; each choice is printed.

    - ``train`` and ``val`` are paths of catalogues, see ``tools/dataset_converters/split.py``.
    - Pictures get one and a half times the size of the image tower's own preprocessing, so that
      small products keep some tokens, or ``image_size``.
    - A batch holds 64 products, or all of a smaller catalogue; there are 20 queries, or as many as
      a batch has products. ``steps`` are divided into the epochs of ``train_cfg``, each at least
      one pass over the catalogue.
    - What a child config sets itself stays: ``batch_size``, ``num_passes``, ``num_queries``,
      ``val_evaluator``, ``save_best``.
    - Metrics are those that the validation catalogue can be measured by: grounding needs boxes,
      classification and retrieval need products with a text and pictures.

    Args:
        cfg: ``Config`` that inherits ``configs/adapt.py``.

    Raises:
        KeyError: an unknown key, or a path is missing.
        ValueError: the catalogue has too few products to contrast.
    """
    own = dict(cfg.adapt_to)
    if unknown := sorted(own.keys() - set(KEYS)):
        raise KeyError(f'adapt_to has unknown keys {unknown}; known: {", ".join(KEYS)}')
    if missing := [key for key in ('train', 'val') if not own.get(key)]:
        raise KeyError(
            f'adapt_to.{missing[0]} is not set: give the path of a catalogue, such as '
            'tools/dataset_converters/split.py writes'
        )
    train, val = read_catalogue(own['train']), read_catalogue(own['val'])
    size = own.get('image_size') or _image_size(cfg)
    _set_pipelines(cfg, size, own.get('max_length'))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].dataset.catalogue = own['train' if name == 'train_dataloader' else 'val']
    choices = _set_sizes(cfg, len(train), own)
    metrics = cfg.get('val_evaluator') or _metrics(own, train, val)
    cfg.val_evaluator, cfg.test_evaluator = metrics, cfg.get('test_evaluator') or metrics
    hook = cfg.default_hooks.checkpoint
    if not hook.get('save_best'):
        hook.update(save_best='val/right_box' if _has_boxes(val) else 'val/t2i_R@1')
        hook.setdefault('rule', 'greater')
    names = ', '.join(dict.fromkeys(metric['type'] for metric in metrics))
    print_log(
        f'adapt_to: {len(train)} products for training, {len(val)} for validation; pictures '
        f'of {size} x {size} pixels; {choices}; measured by {names}; best checkpoint by '
        f'{hook.save_best}'
    )


def _image_size(cfg) -> int:
    """One and a half times the tower's size in whole tokens; its own where positions fix it."""
    model = cfg.model
    dual = model.get('pretrained_dual')
    source = dual or model.image_encoder.get('pretrained')
    known = read_preprocessing(source) if source else None
    if known is None or known.size is None:
        raise KeyError(
            f'adapt_to.image_size is not set, and {source} does not say what size its '
            'pictures have; set it in pixels'
        )
    if dual:  # position embeddings of a fixed size
        return known.size[0]
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    patch = getattr(config, 'patch_size', None)
    if isinstance(patch, int) and not hasattr(config, 'depths') and config.model_type not in FREE:
        return known.size[0]
    unit = patch if isinstance(patch, int) else 32
    return math.ceil(1.5 * known.size[0] / unit) * unit


def _set_pipelines(cfg, size: int, max_length: int | None) -> None:
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for transform in cfg[name].dataset.pipeline:
            if 'size' in transform:
                transform.size = size
            if 'draft_size' in transform:
                transform.draft_size = size
            if max_length and 'max_length' in transform:
                transform.max_length = max_length
    for hook in cfg.get('custom_hooks') or ():
        if max_length and 'max_length' in hook:
            hook.max_length = max_length


def _set_sizes(cfg, num_products: int, own: dict) -> str:
    if num_products < 2:
        raise ValueError(
            f'{own["train"]} has {num_products} product; training contrasts different products, '
            'give at least 2'
        )
    loader, epochs = cfg.train_dataloader, cfg.train_cfg.max_epochs
    batch_size = loader.get('batch_size') or own.get('batch_size') or BATCH_SIZE
    batch_size = min(batch_size, num_products)
    # a batch that lies in two passes may repeat products, but half of it are different
    different = batch_size if num_products % batch_size == 0 else math.ceil(batch_size / 2)
    steps = own.get('steps') or STEPS
    num_passes = max(1, round(steps / epochs * batch_size / num_products))
    num_passes = loader.sampler.get('num_passes') or num_passes
    loader.batch_size, loader.sampler.num_passes = batch_size, num_passes
    num_queries = min(NUM_QUERIES, different)
    if 'queries' in cfg.model:
        num_queries = cfg.model.queries.get('num_queries') or num_queries
        cfg.model.queries.num_queries = num_queries
    return (
        f'batches of {batch_size}, {num_queries} queries, '
        f'{epochs} epochs of {num_passes * num_products // batch_size} steps'
    )


def _metrics(own: dict, train: Catalogue, val: Catalogue) -> list[dict]:
    common = dict(split='val')
    metrics = [dict(type='ImageTextRetrieval', prefix='val', **common)]
    if set(train.product_ids) & set(val.product_ids):  # otherwise no class is the right one
        metrics.append(
            dict(type='ZeroShotClassification', prefix='val', catalogue=own['train'], **common)
        )
    if np.diff(val.image_starts).max() > 1:  # another picture to be found
        metrics += [
            dict(type='ProductRetrieval', prefix='val_image', feature='pred_image_feat', **common),
            dict(type='ProductRetrieval', prefix='val', **common),
        ]
    if _has_boxes(val):
        metrics.append(dict(type='ProductGrounding', prefix='val', **common))
    return metrics


def _has_boxes(catalogue: Catalogue) -> bool:
    """Whether one of the first products has boxes."""
    rows = (catalogue[k] for k in range(min(64, len(catalogue))))
    return any(image.get('boxes') for row in rows for image in row['images'])
