"""Image prompts: the second picture of an evaluation sample, another one of the product."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.storage.schema import CatalogueError


class Prompt(NamedTuple):
    """The ``index``-th usable picture of a product as a prompt; None if there is no prompt."""

    index: int | None


def choose_with_prompt(left: Sequence, sources: Sequence, rng: np.random.Generator) -> Sequence:
    """The picture of a sample and its prompt; nothing is random.

    Args:
        left: the picture, as its place among the pictures of the product in the catalogue,
            whatever their sources, then its prompts: place k takes prompt k modulo their number.
        sources, rng: not needed here.
    """
    image, *prompts = left
    if isinstance(image, Prompt):  # the picture itself cannot be decoded
        return ()
    return image, prompts[image % len(prompts)] if prompts else Prompt(None)


class ImagePrompts:
    """Finds and loads the image prompts of samples.

    Args:
        sources: pictures of these sources may be prompts.
        catalogue: where they are; None for the catalogue of the samples.
    """

    def __init__(self, sources: Sequence[str], catalogue=None) -> None:
        if isinstance(sources, str):
            raise ValueError(f"prompt_sources is a list, write ['{sources}']")
        self.sources = tuple(sources)
        self._given = catalogue
        self._catalogue: Catalogue | None = None
        self._row_of: dict[str, int] = {}
        self._own = False

    def open(self, catalogue: Catalogue) -> None:
        """Read the prompts' catalogue.

        Args:
            catalogue: catalogue of the samples.

        Raises:
            CatalogueError: it has no picture of these sources.
        """
        self._own = self._given is None
        chosen = catalogue if self._own else self._given
        if not isinstance(chosen, Catalogue):
            chosen = read_catalogue(chosen)
        if not set(self.sources) & set(chosen.source_names):
            raise CatalogueError(
                f'prompt_sources {list(self.sources)}: no picture has one of these sources; the '
                f'catalogue of the prompts has {", ".join(map(repr, chosen.source_names))}'
            )
        self._catalogue = chosen
        self._row_of = {product: row for row, product in enumerate(chosen.product_ids)}

    def candidates(self, product_id: str, image: int) -> list[Prompt]:
        """The pictures of a product that may be prompts of its picture ``image``."""
        row = self._row_of.get(product_id)
        if row is None:
            return []
        return [
            Prompt(i)
            for i, source in enumerate(self._catalogue.image_sources(row))
            if source in self.sources and not (self._own and i == image)
        ]

    def places(
        self, product_ids: Sequence[str], images: Sequence[int]
    ) -> tuple[Catalogue, bool, np.ndarray]:
        """See :meth:`CatalogueDataset.places`: those that are tried first for pictures."""
        found = []
        for product_id, image in zip(product_ids, images, strict=True):
            candidates = self.candidates(product_id, image)
            _, prompt = choose_with_prompt([image, *candidates], (), None)
            if prompt.index is not None:
                start = self._catalogue.image_starts[self._row_of[product_id]]
                found.append(start + prompt.index)
        return self._catalogue, False, np.array(found, dtype=np.int64)

    def load(self, load_image: Callable[[Sequence], dict], chosen: Sequence) -> dict:
        """The row of a picture with its prompt as the second one of its ``images``.

        Args:
            load_image: loads the row with the picture alone.
            chosen: the picture and its prompt, see :func:`choose_with_prompt`.
        """
        image, prompt = chosen
        row = load_image([image])
        if prompt.index is None:
            row['images'].append(dict(row['images'][0], image_id=None))
        else:
            index = self._row_of[row['product_id']]
            (record,) = self._catalogue.load(index, [prompt.index], boxes=False)['images']
            number = self._catalogue.image_number(index, prompt.index)
            record['image_id'] = make_image_id(row['product_id'], number)
            row['images'].append(record)
        return row
