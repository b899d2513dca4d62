"""From a product to a packed sample: the one path of map-style data, streams and embedding."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from mmengine.dataset import Compose

from eclip_mm.datasets.fixes import Fixes
from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.storage.attributes import read_attributes
from eclip_mm.datasets.storage.stored_files import StoredFile
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import TRANSFORMS


class Attempts:
    """Random generators for the attempts at making one sample.

    Args:
        key: seed of the generators; the number of the attempt is appended.
        limit: number of attempts; None for any number.

    Attributes:
        rng: generator of the last attempt.
    """

    def __init__(self, key: Sequence[int], limit: int | None = None) -> None:
        self.key, self.number, self.limit = key, 0, limit
        self.rng: np.random.Generator | None = None

    def __iter__(self) -> 'Attempts':
        return self

    def __next__(self) -> np.random.Generator:
        if self.number == self.limit:
            raise StopIteration
        self.rng = np.random.default_rng((*self.key, self.number))
        self.number += 1
        return self.rng


class SampleBuilder:
    """Chooses pictures of a product, runs the pipeline on them, and tries others where one fails.

    The data set decides which rows are read, what the seeds are, and what replaces a product
    without a readable picture.

    Args:
        pipeline: transforms: configs of TRANSFORMS and callables, or a pipeline that is ready.
        choose: chooses the pictures of a sample: takes the keys of pictures, their sources and a
            generator, and returns keys, or an empty sequence if these make no sample.
        split: name that metrics select samples by.

    Attributes:
        fixes: whose merges the samples follow.
    """

    def __init__(
        self,
        pipeline: Sequence[dict | Callable] | Callable,
        choose: Callable[[Sequence, Sequence, np.random.Generator], Sequence],
        split: str = '',
    ) -> None:
        if not callable(pipeline):  # transforms are looked up in our registry first
            steps = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline]
            pipeline = Compose(steps)
        self.pipeline = pipeline
        self.choose = choose
        self.split = split
        self.fixes = Fixes()

    def build(
        self,
        pictures: Sequence,
        sources: Sequence,
        load: Callable[[Sequence], dict],
        attempts: Iterable[np.random.Generator],
        note: Callable[[object, ImageDecodeError], None],
    ) -> dict | None:
        """The sample of a product.

        Args:
            pictures: keys of the pictures that may be used.
            sources: source of each picture, by its key.
            load: takes the keys of chosen pictures and returns the row with these pictures, in
                this order, as ``images``. Each has an ``image_id``.
            attempts: a generator for each attempt.
            note: called with the key of each picture that cannot be decoded, and the error.

        Returns:
            What the pipeline returns; None if no picture can be decoded, or the attempts end.
        """
        left = list(pictures)
        for rng in attempts:
            chosen = self.choose(left, sources, rng) if left else ()
            if not chosen:
                break
            try:
                row = load(chosen)
                if self.fixes:
                    merge_products(row, self.fixes)
                results = dict(
                    product_id=row['product_id'],
                    text=row['text'],
                    category=row.get('category'),
                    attributes=read_attributes(row.get('attributes')),
                    split=self.split,
                    image_records=row['images'],
                    rng=rng,
                )
                return self.pipeline(results)
            except ImageDecodeError as error:
                failed = chosen[error.image_index]
                note(failed, error)
                left = [picture for picture in left if picture != failed]
        return None

    def choices(self, pictures: Sequence, broken: set) -> Iterator[Sequence]:
        """What :meth:`build` tries one after the other, where no choice is random.

        Args:
            pictures: as for :meth:`build`.
            broken: keys of pictures that cannot be decoded; the caller adds them as it meets them.
        """
        left = list(pictures)
        while left and (chosen := self.choose(left, (), None)):
            yield chosen
            if broken.isdisjoint(chosen):
                break
            left = [picture for picture in left if picture not in broken]


def load_stored(
    row: dict,
    file: StoredFile,
    chosen: Sequence[int],
    read_local: bool = True,
    faults: type[OSError] | tuple[type[OSError], ...] = OSError,
) -> dict:
    """``load`` of :meth:`SampleBuilder.build` for a row that is in memory.

    Args:
        row: the row as stored.
        file: the catalogue file of the row; picture paths are relative to it.
        chosen: places of pictures in the row.
        read_local: read pictures that are local files; otherwise the pipeline gets their paths.
        faults: errors of reading that are faults of the picture; others are raised as they are.

    Raises:
        ImageDecodeError: a picture cannot be read.
    """
    images = []
    for place, number in enumerate(chosen):
        image = {k: v for k, v in row['images'][number].items() if k != 'boxes'}
        image['image_id'] = make_image_id(row['product_id'], number)
        if 'path' in image and file.is_local and not read_local:
            path = image['path']
            image['path'] = file.beside(path)
            if not os.path.exists(image['path']):
                raise ImageDecodeError(
                    f"picture '{image['image_id']}' ({path}) cannot be read: there is no such file"
                    f'{file.hint(path)}',
                    place,
                )
        elif 'path' in image:
            path = image.pop('path')
            try:
                image['bytes'] = file.read_beside(path)
            except faults as error:
                hint = file.hint(path) if isinstance(error, FileNotFoundError) else ''
                raise ImageDecodeError(
                    f"picture '{image['image_id']}' ({path}) cannot be read: {error}{hint}", place
                ) from error
        images.append(image)
    return {**row, 'images': images}


def merge_products(row: dict, fixes: Fixes) -> None:
    """Give a row and its boxes, in place, the products that fixes merge theirs into.

    Pictures have their ``image_id`` already, which names the stored row.
    """
    row['product_id'] = fixes.product(row['product_id'])
    for image in row['images']:
        if image.get('boxes'):
            image['boxes'] = [
                dict(box, product_id=fixes.product(box['product_id'])) for box in image['boxes']
            ]
