"""From a row in memory to a packed sample."""

from collections.abc import Callable, Sequence

import numpy as np

from eclip_mm.datasets.picture_choice import choose_pictures
from eclip_mm.datasets.storage.parquet_groups import ParquetGroups
from eclip_mm.datasets.stream_window import Slot
from eclip_mm.datasets.transforms.loading import ImageDecodeError


class SampleMaker:
    """Draws the pictures of a product and runs the pipeline on them.

    Args:
        pipeline: Transforms.
        num_images: Pictures per sample.
        first_picture: As for ``ProductDataset``.
        sources: Use only pictures of these sources.
        exclude_sources: Use no picture of these.
    """

    def __init__(
        self,
        pipeline: Callable,
        num_images: int,
        first_picture: str,
        sources: Sequence[str] | None,
        exclude_sources: Sequence[str] | None,
    ) -> None:
        self.pipeline = pipeline
        self.num_images = num_images
        self.first_picture = first_picture
        self.sources = sources
        self.exclude_sources = exclude_sources

    def pictures(self, row: dict) -> list[int]:
        """Places of the pictures of a row that are of a wanted source."""
        named = self.sources if self.sources is not None else self.exclude_sources
        return [
            i
            for i, image in enumerate(row['images'])
            if named is None or (image['source'] in named) == (self.sources is not None)
        ]

    def make(
        self,
        slot: Slot,
        key: Sequence[int],
        groups: ParquetGroups,
        note: Callable[[str, ImageDecodeError], None],
    ) -> dict | None:
        """The sample of a row that can be used.

        Args:
            slot: The row.
            key: What every random choice follows from.
            groups: Where pictures are that the row names by path.
            note: Called with 'pictures' and the fault of each
                picture that cannot be decoded; another one stands in for it.

        Returns:
            None where no picture can be decoded.
        """
        row = slot.row
        sources = [image['source'] for image in row['images']]
        left = self.pictures(row)
        for attempt in range(len(left)):
            rng = np.random.default_rng((*key, attempt))
            chosen = choose_pictures(left, sources, self.num_images, self.first_picture, rng)
            try:
                results = dict(
                    product_id=row['product_id'],
                    text=row['text'],
                    category=row.get('category'),
                    split='',
                    image_records=[_record(slot, i, at, groups) for at, i in enumerate(chosen)],
                    rng=rng,
                )
                return self.pipeline(results)
            except ImageDecodeError as error:
                note('pictures', error)
                left.remove(chosen[error.image_index])
        return None


def _record(slot: Slot, image: int, place: int, groups: ParquetGroups) -> dict:
    """What ``LoadProductImages`` reads; a path is read here, from any file system."""
    record = {k: v for k, v in slot.row['images'][image].items() if v is not None}
    record['image_id'] = f'{slot.row["product_id"]}#{image}'
    if 'path' in record:
        path = record.pop('path')
        try:
            record['bytes'] = groups.read_picture(slot.group, path)
        except OSError as error:
            raise ImageDecodeError(
                f"picture '{record['image_id']}' ({path}) cannot be read: {error}", place
            ) from error
    return record
