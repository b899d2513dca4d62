"""Datasets over a catalogue: products for pretraining, single pictures for evaluation."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.logging import print_log
from torch.utils.data import Dataset

from eclip_mm.registry import DATASETS, TRANSFORMS

from .catalogue import Catalogue, read_catalogue
from .schema import CatalogueError
from .transforms.loading import ImageDecodeError


def build_pipeline(pipeline: Sequence[dict | Callable] | Callable) -> Callable:
    """Build transforms from configs, looking them up in our registry first.

    Args:
        pipeline (Sequence[dict | Callable] | Callable): Configs of TRANSFORMS
            and callables, or a pipeline that is ready.
    """
    if callable(pipeline):
        return pipeline
    return Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])


class _CatalogueDataset(Dataset):
    """What both datasets share: lazy reading, filtering by source, bad pictures.

    Subclasses say what their items are (:meth:`_index_items`) and make the
    ``results`` dict of one (:meth:`_prepare`).

    Indices: item ``i`` is item ``i % len(self)`` of epoch ``i // len(self)``.
    :class:`ResumableSampler` counts on, so that a sample depends on (seed,
    epoch, index) alone, and never on the worker or on what was drawn before.
    """

    # Give up after this many items in a row without one readable picture: the
    # folder of pictures is gone, and trying a million of them helps nobody.
    max_fallbacks = 100

    def __init__(
            self, catalogue, pipeline, seed: int, strict: bool,
            sources: Sequence[str] | None, exclude_sources: Sequence[str] | None) -> None:
        if sources is not None and exclude_sources is not None:
            raise ValueError(
                f"{type(self).__name__}: give 'sources' or 'exclude_sources', not both")
        for name, value in (('sources', sources), ('exclude_sources', exclude_sources)):
            if isinstance(value, str):
                raise ValueError(f"{type(self).__name__}: '{name}' is a list, write [{value!r}]")
        self.catalogue_path = catalogue
        self.pipeline = build_pipeline(pipeline)
        self.seed = seed
        self.strict = strict
        self.sources = sources
        self.exclude_sources = exclude_sources
        self._catalogue: Catalogue | None = None

    @property
    def metainfo(self) -> dict:
        """Plain dict that mmengine's loops hand to metrics and visualizers."""
        return copy.deepcopy(dict(dataset_type='product_catalogue'))

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue, read at first use."""
        self.full_init()
        return self._catalogue

    @property
    def epoch_stride(self) -> int:
        """What the sampler adds to an index per epoch."""
        return len(self)

    def full_init(self) -> None:
        """Read the catalogue and log what it leaves out; mmengine calls it once."""
        if self._catalogue is not None:
            return
        catalogue = self.catalogue_path
        if not isinstance(catalogue, Catalogue):
            catalogue = read_catalogue(catalogue, strict=self.strict)
        if catalogue.report:
            print_log(f'{self._name()}: {catalogue.report}', logger='current',
                      level=logging.WARNING)
        used = self._used_images(catalogue)
        self._catalogue = catalogue
        self._index_items(catalogue, used)
        # One bit a picture, in memory that workers share: each bad picture is
        # logged once, whichever worker meets it and however often.
        self._bad_images = torch.zeros(len(catalogue), dtype=torch.int64).share_memory_()

    def _used_images(self, catalogue: Catalogue) -> np.ndarray:
        """Bool array over all pictures of the catalogue: is its source wanted."""
        names = self.sources if self.sources is not None else self.exclude_sources
        if names is None:
            return np.ones(len(catalogue.image_source_codes), dtype=bool)
        unknown = [name for name in names if name not in catalogue.source_names]
        if unknown:
            raise CatalogueError(
                f'{self._name()}: no picture has the source {unknown[0]!r}; '
                f'the catalogue has {", ".join(map(repr, catalogue.source_names))}')
        codes = [catalogue.source_names.index(name) for name in names]
        return np.isin(catalogue.image_source_codes, codes, invert=self.sources is None)

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        raise NotImplementedError

    def _prepare(self, index: int, rng: np.random.Generator, bad: set) -> dict | None:
        raise NotImplementedError

    def _name(self) -> str:
        return f'{type(self).__name__}({self.catalogue_path})'

    def __getitem__(self, index: int) -> dict:
        """One packed sample.

        Args:
            index (int): ``epoch * len(self) + item``.

        Raises:
            ImageDecodeError: A picture cannot be decoded and ``strict``, or no
                picture of many items in a row can.
        """
        epoch, item = divmod(int(index), len(self))
        bad: set[int] = set()
        for attempt in range(self.max_fallbacks):
            rng = np.random.default_rng((self.seed, epoch, item, attempt))
            results = self._prepare(item, rng, bad)
            if results is None:  # every picture of it is bad: the next item stands in
                item, bad = (item + 1) % len(self), set()
                continue
            try:
                return self.pipeline(results)
            except ImageDecodeError as error:
                if self.strict:
                    raise
                bad.add(self._note_bad_image(results, error))
        raise ImageDecodeError(
            f'{self._name()}: no readable picture in {self.max_fallbacks} attempts, the last at '
            f'item {item}; check that the pictures are where the catalogue says')

    def _note_bad_image(self, results: dict, error: ImageDecodeError) -> int:
        record = results['image_records'][error.image_index]
        row, number = results['row_index'], int(record['image_id'].rpartition('#')[2])
        bit = 1 << min(number, 62)
        if not int(self._bad_images[row]) & bit:
            self._bad_images[row] |= bit
            print_log(f'{self._name()}: {error}; another picture stands in for it',
                      logger='current', level=logging.WARNING)
        return results['image_indices'][error.image_index]

    def _results(self, row_index: int, image_indices: Sequence[int], with_boxes: bool,
                 rng: np.random.Generator, split: str) -> dict:
        """Start the ``results`` dict that the pipeline works on."""
        distinct = sorted(set(image_indices))
        row = self.catalogue.load(row_index, distinct, boxes=with_boxes)
        records = []
        for i in image_indices:
            record = dict(row['images'][distinct.index(i)])
            number = self.catalogue.image_number(row_index, i)
            record['image_id'] = f'{row["product_id"]}#{number}'
            if with_boxes:
                record.setdefault('boxes', [])
            records.append(record)
        return dict(
            product_id=row['product_id'], text=row['text'], category=row['category'],
            split=split, image_records=records, rng=rng, row_index=row_index,
            image_indices=list(image_indices))


@DATASETS.register_module()
class ProductDataset(_CatalogueDataset):
    """Products for pretraining: a text and ``num_images`` pictures of one product.

    The pictures come from different sources where the product has two; a
    product with a single picture gives it ``num_images`` times, to be augmented
    differently, and how many products do so is logged at the start of every
    epoch. Boxes are never read.

    Args:
        catalogue (str | Path | Sequence | Catalogue): Path of a catalogue,
            several, or one that is open; see
            :func:`~eclip_mm.datasets.catalogue.read_catalogue`.
        pipeline (Sequence[dict] | Callable): Transforms.
        num_images (int): Pictures per sample. Defaults to 2.
        seed (int): Seed of every random choice. Defaults to 0.
        strict (bool): Raise where a row or a picture cannot be used. Otherwise
            rows are skipped and reported, and a picture that cannot be decoded
            is replaced by another one of the product, or else by the next
            product; it is logged once.
        sources (Sequence[str], optional): Use only pictures of these sources.
        exclude_sources (Sequence[str], optional): Use no picture of these.
    """

    def __init__(
            self,
            catalogue: str | Path | Sequence[str | Path] | Catalogue,
            pipeline: Sequence[dict | Callable] | Callable,
            num_images: int = 2,
            seed: int = 0,
            strict: bool = False,
            sources: Sequence[str] | None = None,
            exclude_sources: Sequence[str] | None = None) -> None:
        super().__init__(catalogue, pipeline, seed, strict, sources, exclude_sources)
        if num_images < 1:
            raise ValueError(f"ProductDataset: 'num_images' is {num_images}, give at least 1")
        self.num_images = num_images

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        self._used = used
        counts = np.add.reduceat(used.astype(np.int64), catalogue.image_starts[:-1])
        self._rows = np.flatnonzero(counts)
        if len(self._rows) == 0:
            raise CatalogueError(f'{self._name()}: no product has a picture of the sources asked '
                                 'for; check `sources` and `exclude_sources`')
        self._num_single_image = int((counts == 1).sum())

    @property
    def num_single_image(self) -> int:
        """Products with a single usable picture, which is augmented ``num_images`` times."""
        self.full_init()
        return self._num_single_image

    def __len__(self) -> int:
        self.full_init()
        return len(self._rows)

    def on_epoch_start(self, epoch: int) -> None:
        """Log how many products have one picture; the sampler calls it in the main process."""
        self.full_init()
        if self.num_images == 1:
            return
        print_log(
            f'Epoch {epoch}: {self.num_single_image} of {len(self)} products have one picture '
            f'and give {self.num_images} augmentations of it', logger='current')
        num_bad = int((self._bad_images != 0).sum())
        if num_bad:
            print_log(f'Epoch {epoch}: pictures of {num_bad} products could not be decoded so far',
                      logger='current', level=logging.WARNING)

    def _prepare(self, index: int, rng: np.random.Generator, bad: set) -> dict | None:
        row = int(self._rows[index])
        start, end = self.catalogue.image_starts[row:row + 2]
        candidates = [int(i) for i in np.flatnonzero(self._used[start:end]) if int(i) not in bad]
        if not candidates:
            return None
        codes = self.catalogue.image_source_codes[start:end]
        chosen = choose_images(candidates, codes, self.num_images, rng)
        return self._results(row, chosen, with_boxes=False, rng=rng, split='')


def choose_images(
        candidates: Sequence[int], sources: Sequence, num_images: int,
        rng: np.random.Generator) -> list[int]:
    """Draw pictures of a product, from as many different sources as possible.

    Args:
        candidates (Sequence[int]): Indices of the pictures to draw from.
        sources (Sequence): Source of every picture, indexed by candidate.
        num_images (int): How many to draw. One picture is drawn twice only
            when all have been drawn once.
        rng (np.random.Generator): Where the choice comes from.

    Returns:
        list[int]: ``num_images`` of the candidates in random order.
    """
    chosen: list[int] = []
    while len(chosen) < num_images:
        # One picture of each source per round; what is left is for the next round.
        by_source: dict = {}
        for candidate in candidates:
            if candidate not in chosen[len(chosen) - len(chosen) % len(candidates):]:
                by_source.setdefault(sources[candidate], []).append(candidate)
        groups = list(by_source.values())
        for g in rng.permutation(len(groups))[:num_images - len(chosen)]:
            chosen.append(groups[g][rng.integers(len(groups[g]))])
    return chosen


@DATASETS.register_module()
class ProductImageDataset(_CatalogueDataset):
    """Every picture of a catalogue with its product's text, for evaluation.

    Args:
        catalogue (str | Path | Sequence | Catalogue): As for
            :class:`ProductDataset`.
        pipeline (Sequence[dict] | Callable): Transforms; sees one picture.
        split (str): Name that metrics select samples by.
        sources (Sequence[str], optional): Use only pictures of these sources.
        max_images_per_product (int, optional): Use the first so many pictures
            of each product.
        strict (bool): As for :class:`ProductDataset`; a picture that cannot be
            decoded is replaced by the next one.
        seed (int): Seed of random transforms, if the pipeline has any.
    """

    def __init__(
            self,
            catalogue: str | Path | Sequence[str | Path] | Catalogue,
            pipeline: Sequence[dict | Callable] | Callable,
            split: str = '',
            sources: Sequence[str] | None = None,
            max_images_per_product: int | None = None,
            strict: bool = False,
            seed: int = 0) -> None:
        super().__init__(catalogue, pipeline, seed, strict, sources, None)
        if max_images_per_product is not None and max_images_per_product < 1:
            raise ValueError("ProductImageDataset: 'max_images_per_product' is "
                             f'{max_images_per_product}, give at least 1 or None')
        self.split = split
        self.max_images_per_product = max_images_per_product

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        starts = catalogue.image_starts
        flat = np.flatnonzero(used)
        rows = np.searchsorted(starts, flat, side='right') - 1
        if self.max_images_per_product is not None:
            first = np.searchsorted(rows, rows)  # where this product's pictures begin
            keep = np.arange(len(rows)) - first < self.max_images_per_product
            flat, rows = flat[keep], rows[keep]
        self._rows, self._images = rows, flat - starts[rows]

    def __len__(self) -> int:
        self.full_init()
        return len(self._rows)

    def _prepare(self, index: int, rng: np.random.Generator, bad: set) -> dict | None:
        image = int(self._images[index])
        if image in bad:
            return None
        return self._results(
            int(self._rows[index]), [image], with_boxes=True, rng=rng, split=self.split)
