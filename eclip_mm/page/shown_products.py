"""Titles and pictures of the products that a search finds, from the catalogue."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from PIL import Image

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages
from eclip_mm.index import Index
from eclip_mm.page.photo_box import SHOWN_SIDE
from eclip_mm.utils.spread import spread_indices


class ShownProducts:
    """Reads what the page shows of a product; threads may share it.

    Args:
        catalogue: files, folders or patterns of the catalogue.

    Raises:
        CatalogueError: there is no such catalogue, or no row of it can be used.
    """

    def __init__(self, catalogue: str | Path | Sequence[str | Path]) -> None:
        # with a check of files, numbers of pictures would be other ones than in the features
        self._catalogue = read_catalogue(catalogue, check_files=False)
        self._place = {id_: n for n, id_ in enumerate(self._catalogue.product_ids)}
        self._load_pictures = LoadProductImages(draft_size=SHOWN_SIDE)
        self._lock = Lock()

    @classmethod
    def of_index(cls, index: Index, catalogue: Sequence[str] = ()) -> 'ShownProducts':
        """The catalogue that an index was made from, or the one that is given instead.

        Raises:
            FileNotFoundError: a file of the catalogue has been moved.
            ValueError: the catalogue has none of the products.
        """
        files = list(catalogue) or index.values_of('file')
        for file in () if catalogue else files:
            if not Path(file).exists():
                raise FileNotFoundError(
                    f'{file}, which {index.name} was made from, is not there: start in the '
                    'folder that the path begins at, or give --catalogue'
                )
        shown = cls(files)
        ids = index.values_of('product_id')
        if not any(product in shown for product in ids):
            raise ValueError(
                f'{", ".join(files[:3])} has none of the {len(ids)} products of {index.name}, '
                f'such as {ids[0]!r}: give the catalogue that it was made from'
            )
        return shown

    def __contains__(self, product_id: str) -> bool:
        return product_id in self._place

    def title(self, product_id: str) -> str:
        """The text of a product; its id if the catalogue does not have it."""
        if product_id not in self:
            return product_id
        with self._lock:
            return self._catalogue.load(self._place[product_id], [], boxes=False)['text']

    def picture(self, product_id: str, number: int | None = None) -> Image.Image | None:
        """A picture of a product as it is stored, upright; a large JPEG is reduced.

        Args:
            product_id: the product.
            number: place of the picture in the row, from 0; None for the first that can be read.

        Returns:
            None if there is none that can be read.
        """
        if product_id not in self:
            return None
        place = self._place[product_id]
        count = self._catalogue.num_images(place)
        numbers = range(count) if number is None else [number] if number < count else []
        for chosen in numbers:
            with self._lock:
                row = self._catalogue.load(place, [chosen], boxes=False)
            try:
                return self._load_pictures({**row, 'image_records': row['images']})['images'][0]
            except ImageDecodeError:
                continue
        return None

    def names(self, count: int) -> list[str]:
        """At most so many different texts, spread evenly over the catalogue."""
        with self._lock:
            texts = list(dict.fromkeys(text for text in self._catalogue.texts() if text.strip()))
        return [texts[i] for i in spread_indices(len(texts), count)]
