"""What the datasets over a catalogue share."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.logging import print_log
from torch.utils.data import Dataset

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.picture_choice import check_sources
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import TRANSFORMS


def build_pipeline(pipeline: Sequence[dict | Callable] | Callable) -> Callable:
    """Build transforms from configs, looking them up in our registry first.

    Args:
        pipeline: Configs of TRANSFORMS
            and callables, or a pipeline that is ready.
    """
    if callable(pipeline):
        return pipeline
    return Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])


class CatalogueDataset(Dataset):
    """Base of the datasets: lazy reading, filtering by source, bad pictures.

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
        self,
        catalogue,
        pipeline,
        seed: int,
        strict: bool,
        sources: Sequence[str] | None,
        exclude_sources: Sequence[str] | None,
    ) -> None:
        check_sources(type(self).__name__, sources, exclude_sources)
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
        return dict(dataset_type='product_catalogue')

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
            print_log(
                f'{self._name()}: {catalogue.report}', logger='current', level=logging.WARNING
            )
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
                f'the catalogue has {", ".join(map(repr, catalogue.source_names))}'
            )
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
            index: ``epoch * len(self) + item``.

        Raises:
            ImageDecodeError: A picture cannot be decoded and ``strict``, or no
                picture of many items in a row can.
            BrokenGroupError: A row group cannot be read and ``strict``.
        """
        epoch, item = divmod(int(index), len(self))
        bad: set[int] = set()
        for attempt in range(self.max_fallbacks):
            rng = np.random.default_rng((self.seed, epoch, item, attempt))
            try:
                results = self._prepare(item, rng, bad)
            except BrokenGroupError as error:
                if self.strict:
                    raise
                self._note_broken_group(item, error)
                # not the next item, which is of the same group
                item, bad = int(rng.integers(len(self))), set()
                continue
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
            f'item {item}; check that the pictures are where the catalogue says'
        )

    def _note_broken_group(self, item: int, error: BrokenGroupError) -> None:
        row = int(self._rows[item])
        if not int(self._bad_images[row]):  # told once a row, and counted
            self._bad_images[row] = 1
            print_log(
                f'{self._name()}: {error}; another product stands in for '
                f'{self.catalogue.product_ids[row]!r}',
                logger='current',
                level=logging.WARNING,
            )

    def _note_bad_image(self, results: dict, error: ImageDecodeError) -> int:
        record = results['image_records'][error.image_index]
        row, number = results['row_index'], int(record['image_id'].rpartition('#')[2])
        bit = 1 << min(number, 62)
        if not int(self._bad_images[row]) & bit:
            self._bad_images[row] |= bit
            print_log(
                f'{self._name()}: {error}; another picture stands in for it',
                logger='current',
                level=logging.WARNING,
            )
        return results['image_indices'][error.image_index]

    def _results(
        self,
        row_index: int,
        image_indices: Sequence[int],
        with_boxes: bool,
        rng: np.random.Generator,
        split: str,
    ) -> dict:
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
            product_id=row['product_id'],
            text=row['text'],
            category=row['category'],
            split=split,
            image_records=records,
            rng=rng,
            row_index=row_index,
            image_indices=list(image_indices),
        )
