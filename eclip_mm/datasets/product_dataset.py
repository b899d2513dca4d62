"""Datasets over a catalogue: products for pretraining, single pictures for evaluation."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from eclip_mm.datasets.catalogue import Catalogue
from eclip_mm.datasets.catalogue_dataset import CatalogueDataset
from eclip_mm.datasets.image_prompts import ImagePrompts, Prompt, choose_with_prompt
from eclip_mm.datasets.picture_choice import check_choice, choose_all, choose_pictures
from eclip_mm.datasets.samples import SampleBuilder
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages
from eclip_mm.registry import DATASETS
from eclip_mm.utils.conditions import Conditions


@DATASETS.register_module()
class ProductDataset(CatalogueDataset):
    """Products for pretraining: a text and ``num_images`` pictures of one product.

    The pictures come from different sources if the product has several. A product with a single
    picture gives it ``num_images`` times, to be augmented differently; the number of such products
    is logged at the start of every epoch. Boxes are never read.

    Args:
        catalogue: path of a catalogue, several paths, or a catalogue that is open; see
            :func:`~eclip_mm.datasets.catalogue.read_catalogue`.
        pipeline: transforms.
        num_images: pictures per sample. Defaults to 2.
        seed: seed of every random choice. Defaults to 0.
        strict: raise if a row or a picture cannot be used. Otherwise such rows are skipped and
            reported, and a picture that cannot be decoded is logged once and replaced by another
            one of the product; if there is none, the next product replaces the product.
        sources: use only pictures of these sources.
        exclude_sources: use no picture of these.
        first_picture: how the first picture, which the trained encoder sees, is drawn: with
            ``source`` all sources are equally likely, with ``picture`` all pictures. If products
            have one merchant picture and thirty photos, ``source`` spends half of the training on
            the merchant's.
        where: use only products whose category and attributes meet these conditions, such as
            ``['price<20', 'brand=Acme,Nord']``; see
            :class:`~eclip_mm.datasets.product_filter.ProductFilter`.
        fixes: file of fixes to apply, such as ``eclip-mm audit`` writes; see
            :mod:`~eclip_mm.datasets.fixes`.
    """

    def __init__(
        self,
        catalogue: str | Path | Sequence[str | Path] | Catalogue,
        pipeline: Sequence[dict | Callable] | Callable,
        num_images: int = 2,
        seed: int = 0,
        strict: bool = False,
        sources: Sequence[str] | None = None,
        exclude_sources: Sequence[str] | None = None,
        first_picture: str = 'source',
        where: Conditions | None = None,
        fixes: str | Path | None = None,
    ) -> None:
        check_choice('ProductDataset', num_images, first_picture)
        choose = partial(choose_pictures, num_images=num_images, first_picture=first_picture)
        builder = SampleBuilder(pipeline, choose)
        super().__init__(catalogue, builder, seed, strict, sources, exclude_sources, where, fixes)
        self.num_images = num_images

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        self._used = used
        counts = np.add.reduceat(used.astype(np.int64), catalogue.image_starts[:-1])
        self._rows = np.flatnonzero(counts)
        if len(self._rows) == 0:
            raise CatalogueError(
                f'{self._name()}: no product has a picture of the sources asked '
                'for; check `sources` and `exclude_sources`'
                + f' (and where: {self.filter})'
                * bool(self.filter)
            )
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
            f'and give {self.num_images} augmentations of it',
            logger='current',
        )
        num_bad = int((self._bad_images != 0).sum())
        if num_bad:
            print_log(
                f'Epoch {epoch}: pictures of {num_bad} products could not be decoded so far',
                logger='current',
                level=logging.WARNING,
            )

    def places(self) -> Iterator[tuple[Catalogue, bool, np.ndarray]]:
        yield self.catalogue, False, np.flatnonzero(self._used)

    def _pictures(self, item: int) -> tuple[Sequence, Sequence, Callable]:
        row = int(self._rows[item])
        start, end = self.catalogue.image_starts[row : row + 2]
        pictures = np.flatnonzero(self._used[start:end]).tolist()
        codes = self.catalogue.image_source_codes[start:end]
        return pictures, codes, partial(self._load, row, False)


@DATASETS.register_module()
class ProductImageDataset(CatalogueDataset):
    """Every picture of a catalogue with its product's text, for evaluation.

    Args:
        catalogue: as for :class:`ProductDataset`.
        pipeline: transforms of one picture, or of two with ``prompt_sources``.
        split: name that metrics select samples by.
        sources: use only pictures of these sources.
        max_images_per_product: use at most so many pictures of each product, the first ones.
        strict: as for :class:`ProductDataset`; a picture that cannot be decoded is replaced by the
            next one.
        seed: seed of random transforms, if the pipeline has any.
        prompt_sources: add a second picture to every sample, the image prompt: another picture of
            the product, of one of these sources. If the picture is at place k of the product in
            the catalogue (from 0, pictures of all sources counted), it takes prompt k modulo the
            number of its prompts. A picture without a prompt is its own prompt, and the prompt's
            entry in ``image_ids`` is None: ``ProductGrounding`` leaves the sample out and counts
            it.
        prompt_catalogue: where the prompts come from, by product_id. Defaults to ``catalogue``.
        one_product: whether each text names one product. False for photos of several products
            with texts that name all of them; ``CatalogueNegatives`` does not use these as names.
        prompt_text: one text for all samples, such as 'a product', instead of each product's own.
            An instance feature that is prompted by a product's own title also says what the title
            says; one that is prompted by the same text for all says what the picture shows.
        where, fixes: as for :class:`ProductDataset`.
    """

    def __init__(
        self,
        catalogue: str | Path | Sequence[str | Path] | Catalogue,
        pipeline: Sequence[dict | Callable] | Callable,
        split: str = '',
        sources: Sequence[str] | None = None,
        max_images_per_product: int | None = None,
        strict: bool = False,
        seed: int = 0,
        prompt_sources: Sequence[str] | None = None,
        prompt_catalogue: str | Path | Sequence[str | Path] | Catalogue | None = None,
        one_product: bool = True,
        prompt_text: str | None = None,
        where: Conditions | None = None,
        fixes: str | Path | None = None,
    ) -> None:
        if prompt_text is not None and not (isinstance(prompt_text, str) and prompt_text.strip()):
            raise ValueError(
                f"ProductImageDataset: 'prompt_text' is {prompt_text!r}; give a text, or None for "
                "each product's own"
            )
        if prompt_sources is None and prompt_catalogue is not None:
            raise ValueError(
                "ProductImageDataset: 'prompt_catalogue' needs 'prompt_sources', the sources of "
                'the pictures that are prompts'
            )
        self._prompts = None
        if prompt_sources is not None:
            self._prompts = ImagePrompts(prompt_sources, prompt_catalogue)
        choose = choose_all if self._prompts is None else choose_with_prompt
        builder = SampleBuilder(pipeline, choose, split)
        super().__init__(catalogue, builder, seed, strict, sources, None, where, fixes)
        self.split = split
        self.one_product = one_product and prompt_text is None
        if max_images_per_product is not None and max_images_per_product < 1:
            raise ValueError(
                "ProductImageDataset: 'max_images_per_product' is "
                f'{max_images_per_product}, give at least 1 or None'
            )
        self.max_images_per_product = max_images_per_product
        self.prompt_text = prompt_text

    def _index_items(self, catalogue: Catalogue, used: np.ndarray) -> None:
        starts = catalogue.image_starts
        flat = np.flatnonzero(used)
        rows = np.searchsorted(starts, flat, side='right') - 1
        if self.max_images_per_product is not None:
            first = np.searchsorted(rows, rows)  # where this product's pictures begin
            keep = np.arange(len(rows)) - first < self.max_images_per_product
            flat, rows = flat[keep], rows[keep]
        self._rows, self._images = rows, flat - starts[rows]
        if self._prompts is not None:
            self._prompts.open(catalogue)

    @property
    def rows(self) -> np.ndarray:
        """(N,) row of the catalogue, thus product, of each item; ascending."""
        self.full_init()
        return self._rows

    def __len__(self) -> int:
        self.full_init()
        return len(self._rows)

    def records(self, item: int, broken: set) -> Iterator[tuple[object, dict]]:
        pictures, _, load = self._pictures(item)
        for chosen in self.builder.choices(pictures, broken):
            yield from zip(chosen, load(chosen)['images'], strict=True)

    def places(self) -> Iterator[tuple[Catalogue, bool, np.ndarray]]:
        ids = self.catalogue.product_ids
        yield self.catalogue, True, self.catalogue.image_starts[self._rows] + self._images
        if self._prompts is not None:
            yield self._prompts.places([ids[row] for row in self._rows], self._images)

    def stored_picture(self, index: int) -> Image.Image:
        """The picture of an item as it is stored, upright and with its own aspect ratio.

        Args:
            index: as of an item.

        Raises:
            ImageDecodeError: it cannot be decoded; the item itself is then another picture.
        """
        item = int(index) % len(self)
        row = self._load(int(self._rows[item]), False, [int(self._images[item])])
        loaded = LoadProductImages()({**row, 'image_records': row['images']})
        return loaded['images'][0]

    def _pictures(self, item: int) -> tuple[Sequence, Sequence, Callable]:
        row, image = int(self._rows[item]), int(self._images[item])
        load = partial(self._load, row, True)
        if self._prompts is None:
            return [image], (), load
        prompts = self._prompts.candidates(self.catalogue.product_ids[row], image)
        return [image, *prompts], (), partial(self._prompts.load, load)

    def _load(self, row_index: int, boxes: bool, chosen: Sequence[int]) -> dict:
        row = super()._load(row_index, boxes, chosen)
        return row if self.prompt_text is None else {**row, 'text': self.prompt_text}

    def _note_bad_picture(self, item: int, picture, error: ImageDecodeError) -> None:
        if isinstance(picture, Prompt) and not self.strict:
            self._warn(f'prompt: {error}')
        else:
            super()._note_bad_picture(item, picture, error)
