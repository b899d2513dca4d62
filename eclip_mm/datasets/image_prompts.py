"""The second picture of an evaluation sample: another one of the product, as a prompt."""

from collections.abc import Sequence

from eclip_mm.datasets.catalogue import Catalogue, read_catalogue
from eclip_mm.datasets.storage.schema import CatalogueError


class ImagePrompts:
    """Chooses the image prompt of a sample; nothing about it is random.

    Args:
        sources: Pictures of these sources may be prompts.
        catalogue: Where they
            are; None for the catalogue of the samples.
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
            catalogue: That of the samples.

        Raises:
            CatalogueError: It has no picture of these sources.
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

    def add_to(self, results: dict, image: int, bad: set) -> None:
        """Append the prompt to a sample's pictures; without one, the picture itself.

        Args:
            results: Of one picture; changed in place.
            image: Its place among the product's pictures in the
                catalogue, from 0 and whatever sources the samples are of: place
                k takes prompt k modulo their number.
            bad: Pictures that could not be decoded; a prompt is in it as
                ``('prompt', index)``.
        """
        row = self._row_of.get(results['product_id'])
        candidates = []
        if row is not None:
            candidates = [
                i
                for i, source in enumerate(self._catalogue.image_sources(row))
                if source in self.sources
                and ('prompt', i) not in bad
                and not (self._own and i == image)
            ]
        if candidates:
            chosen = candidates[image % len(candidates)]
            record = self._catalogue.load(row, [chosen], boxes=False)['images'][0]
            number = self._catalogue.image_number(row, chosen)
            record['image_id'] = f'{results["product_id"]}#{number}'
        else:
            chosen, record = None, dict(results['image_records'][0], image_id=None)
        results['image_records'].append(record)
        results['image_indices'].append(('prompt', chosen))
