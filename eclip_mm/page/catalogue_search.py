"""What the page does, without the page: search, why something was found, where a product is."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from eclip_mm.apis import Eclip
from eclip_mm.index import Index, JudgedSearch, Query, read_photo
from eclip_mm.page.photo_box import fitted
from eclip_mm.page.shown_products import ShownProducts
from eclip_mm.visualization import overlay_score_map
from eclip_mm.visualization.canvas import GREY, ORANGE, draw_frame, draw_tags

#: names that compete where a product is looked for; more would slow down the start
MAX_NAMES = 1000
#: names that are looked for at a time
MAX_LINES = 20
#: begin of the condition that leaves out the product that others shall be like
NOT_ITSELF = ('product_id', '!=')


@dataclass(frozen=True)
class Hit:
    """A product that was found.

    Attributes:
        product_id: its id.
        title: its text.
        category: None for none.
        score: cosine similarity.
        number: place of the picture that was found in the row of the product; None if products
            and not pictures are searched for.
    """

    product_id: str
    title: str
    category: str | None
    score: float
    number: int | None

    def caption(self) -> str:
        """One line: score, and the first sentence of the title."""
        return f'{self.score:.2f} · {first_sentence(self.title)}'


class CatalogueSearch:
    """A model, an index and the catalogue that it was made from.

    All errors that a person who searches can mend are ``ValueError`` with a sentence.

    Args:
        index: the index.
        eclip: the model that made its vectors.
        shown: titles and pictures.

    Raises:
        ValueError: the index is of other weights.
    """

    def __init__(self, index: Index, eclip: Eclip, shown: ShownProducts) -> None:
        index.check_model(eclip.checkpoint['sha256'])
        self.index, self.eclip, self.shown = index, eclip, shown

    def categories(self) -> list[str]:
        """All categories that hits may have."""
        return self.index.values_of('category') if 'category' in self.index.schema.names else []

    def examples(self, count: int = 3) -> list[str]:
        """What may be searched for: the beginnings of some titles."""
        return [first_sentence(name) for name in self.shown.names(count)]

    def search(self, query: Query, k: int) -> list[Hit]:
        """The k best products, best first; fewer if fewer meet the conditions."""
        found = query.vectors(self.eclip, self.index.manifest['feature'])
        return [
            Hit(
                row['product_id'],
                self.shown.title(row['product_id']),
                row.get('category'),
                row['score'],
                row['picture'],
            )
            for row in self.index.search(**found, k=k, where=query.where)[0]
        ]

    def picture(self, hit: Hit) -> Image.Image:
        """The picture of a hit as it is shown; a grey one if there is none."""
        picture = self.shown.picture(hit.product_id, hit.number)
        return Image.new('RGB', (96, 96), GREY) if picture is None else fitted(picture)

    def why(self, query: Query, hit: Hit) -> Image.Image:
        """The picture of a hit with a map: bright where it is most like the query."""
        picture = self._stored(hit)
        asked = query.vectors(self.eclip, self.index.manifest['feature'])
        found = self.eclip.explain(picture, asked['vectors'][0], strict=True)
        return overlay_score_map(picture, found['map'], size=fitted(picture).size)

    def like(self, query: Query, hit: Hit) -> Query:
        """The search for other products that look like a hit, under the same conditions."""
        file = BytesIO()
        self._stored(hit).save(file, 'PNG')
        kept = tuple(c for c in query.where if c[:2] != NOT_ITSELF)
        return Query(photo=file.getvalue(), where=(*kept, (*NOT_ITSELF, hit.product_id)))

    def point(self, photo: bytes | None, lines: str) -> list['Place']:
        """Where named products are in a photo.

        Args:
            photo: bytes of a picture file.
            lines: a name in each line.
        """
        if photo is None:
            raise ValueError('Add a photo to look into.')
        names = list(dict.fromkeys(line.strip() for line in lines.splitlines() if line.strip()))
        if not 1 <= len(names) <= MAX_LINES:
            raise ValueError(f'Type between 1 and {MAX_LINES} names of products, one in a line.')
        picture = read_photo(photo)
        found = self.eclip.locate(picture, names, top_k=3, maps=True, strict=True)
        return [Place(picture, product) for product in found['products']]

    def judged(
        self, query: Query, hits: list[Hit], wrong: Hit, right: tuple[str, ...]
    ) -> JudgedSearch:
        """A search with a wrong hit, to be saved.

        Args:
            right: product_ids that should have been found; empty if that is not known.
        """
        ids = set(self.index.values_of('product_id')) if right else ()
        for product in right:
            if product not in ids:
                raise ValueError(f'There is no product {product!r} in this index.')
            if product == wrong.product_id:
                raise ValueError(f'{product!r} cannot be both wrong and right.')
        return JudgedSearch(
            query,
            tuple((hit.product_id, round(hit.score, 5)) for hit in hits),
            (wrong.product_id,),
            right,
            self.eclip.checkpoint['sha256'],
        )

    def _stored(self, hit: Hit) -> Image.Image:
        picture = self.shown.picture(hit.product_id, hit.number)
        if picture is None:
            raise ValueError(f'The picture of {hit.product_id!r} cannot be read any more.')
        return picture


@dataclass(frozen=True)
class Place:
    """Where a named product is in a photo.

    Attributes:
        photo: the photo as it is seen.
        found: of ``Eclip.locate``: ``name``, ``boxes`` and ``map``.
    """

    photo: Image.Image
    found: dict

    def drawn(self) -> tuple[Image.Image, Image.Image]:
        """The photo with the numbered boxes, the best in orange, and with the map."""
        shown = fitted(self.photo)
        heat = overlay_score_map(shown, self.found['map'])
        scale = shown.width / self.photo.width
        boxes = [[value * scale for value in box['box']] for box in self.found['boxes']]
        colours = [ORANGE, *[GREY] * len(boxes)][: len(boxes)]
        for picture in (shown, heat):
            draw = ImageDraw.Draw(picture)
            for box, colour in reversed(list(zip(boxes, colours, strict=True))):
                draw_frame(draw, box, colour, width=3)
            draw_tags(draw, boxes, colours)
        return shown, heat

    def caption(self) -> str:
        """One line: the name, and box and score of the best box."""
        if not self.found['boxes']:  # of a photo of one colour
            return f'{self.found["name"]}: nothing stands out in the photo'
        best = self.found['boxes'][0]
        corners = ', '.join(f'{value:.0f}' for value in best['box'])
        return f'{self.found["name"]}: box {corners} (score {best["score"]:.2f})'


def first_sentence(text: str, length: int = 60) -> str:
    """The beginning of a text, up to its first full stop; '…' stands for what is too long."""
    text = text.split('. ')[0]
    return text if len(text) <= length else text[: length - 1] + '…'


def open_search(index: Index, model: str | Path, shown: ShownProducts) -> CatalogueSearch:
    """Load the model, with the titles of the catalogue as what competes in ``point``.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is damaged, or the index is of other weights.
    """
    names = shown.names(MAX_NAMES)
    return CatalogueSearch(index, Eclip(model, negatives=names if len(names) > 1 else None), shown)


def with_categories(query: Query, categories: list[str]) -> Query:
    """A query whose hits are of some categories; of all if there are none."""
    kept = tuple(c for c in query.where if c[0] != 'category')
    chosen = (('category', 'in', list(categories)),) if categories else ()
    return replace(query, where=(*chosen, *kept))
