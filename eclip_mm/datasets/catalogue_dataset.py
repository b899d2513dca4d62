"""The common part of the datasets over a catalogue."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.picture_choice import check_sources
from eclip_mm.datasets.product_filter import ProductFilter
from eclip_mm.datasets.samples import Attempts, SampleBuilder
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.utils.conditions import Conditions


class CatalogueDataset(Dataset):
    """Base of the datasets over a catalogue that is read at random.

    Subclasses say what their items are (:meth:`_index_items`) and which pictures one may be made
    of (:meth:`_pictures`).

    Indices: item ``i`` is item ``i % len(self)`` of epoch ``i // len(self)``.
    :class:`ResumableSampler` counts on over epochs, so that a sample depends on (seed, epoch,
    index) alone, and never on the worker or on what was drawn before.
    """

    # Give up after so many attempts without one readable picture: the folder of pictures is gone,
    # and trying a million of them helps nobody.
    max_attempts = 100

    def __init__(
        self,
        catalogue,
        builder: SampleBuilder,
        seed: int,
        strict: bool,
        sources: Sequence[str] | None,
        exclude_sources: Sequence[str] | None,
        where: Conditions | None,
        fixes: str | Path | None = None,
    ) -> None:
        if fixes is not None and isinstance(catalogue, Catalogue):
            raise ValueError(
                f"{type(self).__name__}: give 'fixes' to read_catalogue, which has read this "
                'catalogue without them'
            )
        check_sources(type(self).__name__, sources, exclude_sources)
        self.filter = ProductFilter(type(self).__name__, where)
        self.catalogue_path = catalogue
        self.builder = builder
        self.seed = seed
        self.strict = strict
        self.sources = sources
        self.exclude_sources = exclude_sources
        self.fixes = fixes
        self._catalogue: Catalogue | None = None

    @property
    def metainfo(self) -> dict:
        """Plain dict that mmengine's loops hand to metrics and visualizers."""
        return dict(dataset_type='product_catalogue')

    @property
    def pipeline(self) -> Callable:
        """The transforms; mmengine's ``PipelineSwitchHook`` sets others."""
        return self.builder.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable) -> None:
        self.builder.pipeline = pipeline

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
            catalogue = read_catalogue(catalogue, strict=self.strict, fixes=self.fixes)
        self.builder.fixes = catalogue.fixes
        if catalogue.report or catalogue.fixes:
            self._warn(str(catalogue.report))
        used = self._used_images(catalogue) & self._kept_images(catalogue)
        self._catalogue = catalogue
        self._index_items(catalogue, used)
        # One bit for each picture, in memory that workers share: each bad picture is logged once,
        # even if several workers meet it several times.
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
                f'the catalogue has {", ".join(map(repr, catalogue.source_names))}'
            )
        codes = [catalogue.source_names.index(name) for name in names]
        return np.isin(catalogue.image_source_codes, codes, invert=self.sources is None)

    def _kept_images(self, catalogue: Catalogue) -> np.ndarray | bool:
        """Bool array over all pictures of the catalogue: does ``where`` keep their product."""
        if not self.filter:
            return True
        rows = zip(catalogue.categories(), catalogue.attributes(), strict=True)
        kept = np.array([self.filter.keeps(*row) for row in rows])
        if not kept.any():
            raise CatalogueError(
                f"{self._name()}: no product meets 'where' ({self.filter})"
                + (f': {reason}' if (reason := self.filter.unseen()) else '')
            )
        print_log(
            f'{self._name()}: {kept.sum()} of {len(kept)} products meet {self.filter}',
            logger='current',
        )
        return np.repeat(kept, np.diff(catalogue.image_starts))

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        raise NotImplementedError

    def records(self, item: int, broken: set) -> Iterator[tuple[object, dict]]:
        """All pictures that samples of an item may be made of.

        Args:
            item: which.
            broken: keys of pictures that cannot be decoded; the caller adds them as it meets them.

        Yields:
            Key and ``image_records`` entry of a picture, one more than once at times.
        """
        pictures, _, load = self._pictures(item)
        yield from zip(pictures, load(pictures)['images'], strict=True)

    def places(self) -> Iterator[tuple[Catalogue, bool, np.ndarray]]:
        """Where the pictures of all items are; no picture is read.

        Yields:
            A catalogue, whether boxes are read from it, and the numbers of pictures among all of
            the catalogue.
        """
        raise NotImplementedError

    def _pictures(self, item: int) -> tuple[Sequence, Sequence, Callable]:
        """``pictures``, ``sources`` and ``load`` for :meth:`SampleBuilder.build`."""
        raise NotImplementedError

    def _name(self) -> str:
        return f'{type(self).__name__}({self.catalogue_path})'

    def __getitem__(self, index: int) -> dict:
        """One packed sample.

        Args:
            index: ``epoch * len(self) + item``.

        Raises:
            ImageDecodeError: a picture cannot be decoded and ``strict``, or no picture of many
                items in a row can.
            BrokenGroupError: a row group cannot be read and ``strict``.
        """
        epoch, item = divmod(int(index), len(self))
        attempts = Attempts((self.seed, epoch, item), self.max_attempts)
        while attempts.number < self.max_attempts:
            attempts.key = (self.seed, epoch, item)
            try:
                sample = self.builder.build(
                    *self._pictures(item), attempts, partial(self._note_bad_picture, item)
                )
            except BrokenGroupError as error:
                self._note_broken_group(item, error)
                # not the next item, which is of the same group
                item = int(attempts.rng.integers(len(self)))
                continue
            if sample is not None:
                return sample
            item = (item + 1) % len(self)  # the next item replaces one without a readable picture
        raise ImageDecodeError(
            f'{self._name()}: no readable picture in {self.max_attempts} attempts, the last near '
            f'item {item}; check that the pictures are where the catalogue says'
        )

    def _note_broken_group(self, item: int, error: BrokenGroupError) -> None:
        if self.strict:
            raise error
        row = int(self._rows[item])
        if not int(self._bad_images[row]):  # logged once a row, and counted
            self._bad_images[row] = 1
            self._warn(f'{error}; another product replaces {self.catalogue.product_ids[row]!r}')

    def _note_bad_picture(self, item: int, picture, error: ImageDecodeError) -> None:
        if self.strict:
            raise error
        row = int(self._rows[item])
        bit = 1 << min(self.catalogue.image_number(row, picture), 62)
        if not int(self._bad_images[row]) & bit:
            self._bad_images[row] |= bit
            self._warn(f'{error}; another picture replaces it')

    def _warn(self, message: str) -> None:
        print_log(f'{self._name()}: {message}', logger='current', level=logging.WARNING)

    def _load(self, row_index: int, boxes: bool, chosen: Sequence[int]) -> dict:
        """A row of the catalogue with the chosen of its usable pictures."""
        row = self.catalogue.load(row_index, chosen, boxes)
        for image, i in zip(row['images'], chosen, strict=True):
            number = self.catalogue.image_number(row_index, i)
            image['image_id'] = make_image_id(row['product_id'], number)
            if boxes:
                image.setdefault('boxes', [])
        return row
