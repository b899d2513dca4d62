"""The generated catalogue: products, splits and their pictures on disk.

The content depends on (seed, split, product, picture) alone, not on the number
of workers or on the machine.
"""

import io
import json
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.datasets.synthetic.attributes import (
    COLOURS,
    OPTIONAL_ATTRIBUTES,
    SHAPES,
    ProductSpec,
    build_spec,
    num_combinations,
)
from eclip_mm.datasets.synthetic.scenes import render_picture

_SPLIT_KEYS = {'train': 0, 'photos': 1, 'products': 2}
_CHUNK = 16  # rows that a worker renders at a time


@dataclass(frozen=True)
class SyntheticCatalogueConfig:
    """Settings of a generated catalogue.

    Attributes:
        num_products: number of trained products, 64 to 1,000,000.
        num_heldout_products: number of further products that no training
            picture shows.
        merchant, comment, video: number of pictures of each source per product
            in ``train`` and ``products``.
        heldout_photos: number of new pictures per trained product in
            ``photos``, alternately of the sources ``comment`` and ``video``.
        max_photo_products: largest number of trained products in ``photos``.
        image_size: side of a picture in pixels.
        image_format: ``png`` (the same pixels everywhere) or ``jpeg``
            (about a third of the size).
        attributes: attributes that distinguish products besides shape and
            colour: ``pattern``, ``mark``.
        num_shapes, num_colours: number of each in use, at most 12. All of them
            without further attributes give 144 products.
        num_others: smallest and largest number of other products in a comment
            or video picture, at least 2.
        object_scale: smallest and largest side of a product in such a picture,
            as a share of the picture's side.
        seed: seed of all random choices.
    """

    num_products: int = 512
    num_heldout_products: int = 64
    merchant: int = 1
    comment: int = 3
    video: int = 2
    heldout_photos: int = 2
    max_photo_products: int = 256
    image_size: int = 96
    image_format: str = 'png'
    attributes: tuple[str, ...] = OPTIONAL_ATTRIBUTES
    num_shapes: int = len(SHAPES)
    num_colours: int = len(COLOURS)
    num_others: tuple[int, int] = (2, 3)
    object_scale: tuple[float, float] = (0.27, 0.42)
    seed: int = 0

    def __post_init__(self):
        if not 64 <= self.num_products <= 1_000_000:
            raise ValueError(f'num_products must be from 64 to 1,000,000, got {self.num_products}')
        unknown = set(self.attributes) - set(OPTIONAL_ATTRIBUTES)
        if unknown:
            raise ValueError(f'attributes must be among {OPTIONAL_ATTRIBUTES}, got {unknown}')
        for name in ('attributes', 'num_others', 'object_scale'):  # a config gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 2 <= self.num_others[0] <= self.num_others[1]:
            raise ValueError(
                f'num_others must be (low, high) with 2 <= low <= high, got {self.num_others}'
            )
        if not 0.1 <= self.object_scale[0] <= self.object_scale[1] <= 0.6:
            raise ValueError(
                'object_scale must be (low, high) with 0.1 <= low <= high <= 0.6, '
                f'got {self.object_scale}'
            )
        for name, most in (('num_shapes', len(SHAPES)), ('num_colours', len(COLOURS))):
            if not 2 <= getattr(self, name) <= most:
                raise ValueError(f'{name} must be from 2 to {most}, got {getattr(self, name)}')
        exist = num_combinations(*self._attribute_space)
        if self.num_products + self.num_heldout_products > exist:
            raise ValueError(
                f'shape, colour and the attributes {self.attributes} distinguish only {exist} '
                'products; lower num_products or add attributes'
            )
        if self.image_format not in ('png', 'jpeg'):
            raise ValueError(f"image_format must be 'png' or 'jpeg', got {self.image_format!r}")
        if self.image_size < 48:
            raise ValueError(f'image_size must be at least 48 pixels, got {self.image_size}')
        if self.merchant + self.comment + self.video < 1:
            raise ValueError('merchant + comment + video must be at least 1 picture')

    @property
    def _attribute_space(self):
        return self.attributes, self.num_shapes, self.num_colours


@lru_cache(maxsize=2)
def _combinations(config: SyntheticCatalogueConfig) -> np.ndarray:
    """Distinct attribute combinations: first the trained products, then the held-out ones."""
    rng = np.random.default_rng([config.seed, 7])
    total = config.num_products + config.num_heldout_products
    # Sorting random keys uses raw draws only, whose stream numpy keeps fixed;
    # that of Generator.choice may change between versions.
    keys = rng.random(num_combinations(*config._attribute_space))
    return np.argsort(keys, kind='stable')[:total]


def product_spec(config: SyntheticCatalogueConfig, index: int) -> ProductSpec:
    """The ``index``-th product; held-out products follow the trained ones."""
    heldout = index >= config.num_products
    name = f'heldout-{index - config.num_products:07d}' if heldout else f'product-{index:07d}'
    rng = np.random.default_rng([config.seed, 11, index])
    return build_spec(name, int(_combinations(config)[index]), rng, *config._attribute_space)


def _split_plan(config, split):
    """Product indices of a split and the sources of each product's pictures."""
    if split == 'photos':
        sources = ['comment' if k % 2 == 0 else 'video' for k in range(config.heldout_photos)]
        products = min(config.num_products, config.max_photo_products)
        return range(products if sources else 0), sources
    sources = (
        ['merchant'] * config.merchant + ['comment'] * config.comment + ['video'] * config.video
    )
    if split == 'train':
        return range(config.num_products), sources
    total = config.num_products + config.num_heldout_products
    return range(config.num_products, total), sources


def generate_row(config: SyntheticCatalogueConfig, split: str, index: int) -> dict:
    """One catalogue row with its pictures as bytes.

    Training pictures and held-out photos show trained products only. Pictures
    of held-out products may show any other product as well.
    """
    spec = product_spec(config, index)
    pool = config.num_products + (config.num_heldout_products if split == 'products' else 0)
    images = []
    for k, source in enumerate(_split_plan(config, split)[1]):
        rng = np.random.default_rng([config.seed, 13, _SPLIT_KEYS[split], index, k])
        others: dict[int, ProductSpec] = {}
        low, high = config.num_others
        count = 0 if source == 'merchant' else int(rng.integers(low, high + 1))
        while len(others) < count:
            other = int(rng.integers(pool))
            if other != index:
                others[other] = product_spec(config, other)
        pixels, boxes = render_picture(
            rng, spec, list(others.values()), source, config.image_size, config.object_scale
        )
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, config.image_format.upper(), quality=92)
        images.append(dict(bytes=buffer.getvalue(), source=source, boxes=boxes))
    return dict(product_id=spec.product_id, text=spec.title, category=spec.category, images=images)


def iter_rows(
    config: SyntheticCatalogueConfig,
    split: str,
    pool: Executor | None = None,
    num_pending: int = 8,
) -> Iterator[dict]:
    """Rows of a split in order.

    Args:
        config: settings of the catalogue.
        split: ``train``, ``photos`` or ``products``.
        pool: executor that renders the rows; None renders them in this process.
        num_pending: number of chunks that may wait for the consumer. It bounds
            the memory that a large catalogue takes.
    """
    indices = _split_plan(config, split)[0]
    make = partial(generate_row, config, split)
    if pool is None:
        yield from map(make, indices)
        return
    pending: deque[Future] = deque()
    for start in range(0, len(indices), _CHUNK):
        pending.append(pool.submit(_make_rows, make, indices[start : start + _CHUNK]))
        if len(pending) > num_pending:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _make_rows(make, indices) -> list[dict]:
    return [make(index) for index in indices]


def write_synthetic_catalogue(
    config: SyntheticCatalogueConfig,
    out_dir: str | os.PathLike,
    num_workers: int = 0,
    progress=lambda rows: rows,
) -> dict[str, Path]:
    """Write ``train``, ``photos`` and ``products`` as Parquet, and keep complete ones.

    Args:
        config: settings of the catalogue.
        out_dir: folder that receives ``{split}.parquet`` and ``config.json``.
        num_workers: number of rendering processes; 0 renders in this process.
        progress: function that wraps the iterator of rows of each split, e.g.
            a progress bar.

    Returns:
        Path of each split. A split without products is left out.

    Raises:
        FileExistsError: the folder contains a catalogue of another config.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    stamp, wanted = out_dir / 'config.json', json.dumps(vars(config), indent=2, sort_keys=True)
    paths = {
        split: out_dir / f'{split}.parquet'
        for split in _SPLIT_KEYS
        if len(_split_plan(config, split)[0])
    }
    if stamp.exists() and stamp.read_text() != wanted:
        raise FileExistsError(
            f'{out_dir} contains a catalogue of another config ({stamp}); '
            'choose another folder or remove this one'
        )
    stamp.write_text(wanted)
    for part in out_dir.glob('.*.part'):  # left by processes that were killed
        part.unlink(missing_ok=True)
    missing = [split for split, path in paths.items() if not path.exists()]
    with _start_pool(num_workers if missing else 0) as pool:
        for split in missing:
            with ParquetCatalogueWriter(paths[split]) as writer:
                for row in progress(iter_rows(config, split, pool, 4 * num_workers)):
                    writer.write(row)
    return paths


def _start_pool(num_workers: int):
    if num_workers == 0:
        return nullcontext()
    # An executor raises an error when a worker cannot start or is killed; a Pool would hang.
    return ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context('spawn'),
        initializer=_end_with_parent,
    )


def _end_with_parent() -> None:
    """End this worker with the main process, which cannot stop its workers when it is killed."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
