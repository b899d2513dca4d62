"""Plants faults into a catalogue and its features, one product a fault."""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: kinds that need a product of several pictures
WITH_PICTURES = ('odd_picture', 'wrong_main', 'duplicate_product')
KINDS = (
    *WITH_PICTURES,
    'title',
    'shared_picture',
    'text_only',
    'near_duplicate',
    'tiny',
    'broken',
    'rotated',
    'markup',
)
WORDS = 'size chest waist hip inch cm chart model wears wash cold do not bleach iron low'.split()


@dataclass
class Planter:
    """Changes rows and features, in place.

    Args:
        rows: of the catalogue, with ``bytes`` of every picture.
        features: of the same products: ``text_feat`` and ``pictures``.
        encode: gives the image feature of a picture.
        seed: of what is chosen.

    Attributes:
        planted: kind -> set of (product_id, picture or None).
    """

    rows: list[dict]
    features: list[dict]
    encode: object
    seed: int
    planted: dict[str, set] = field(default_factory=dict)

    def plant(self, fraction: float) -> None:
        """Plant each kind into ``fraction`` of the products, one at least, each once."""
        self.rng = np.random.default_rng(self.seed)
        self.planted = {kind: set() for kind in KINDS}
        count = max(1, round(fraction * len(self.rows)))
        free = self.rng.permutation(len(self.rows)).tolist()
        for kind in KINDS:
            least = 5 if kind in WITH_PICTURES else 2
            fitting = [k for k in free if len(self.rows[k]['images']) >= least]
            chosen = fitting[: max(3, count) if kind == 'shared_picture' else count]
            free = [k for k in free if k not in chosen]
            getattr(self, f'_{kind}')(chosen)

    def _note(self, kind: str, product: int, picture: int | None = None) -> None:
        self.planted[kind].add((self.rows[product]['product_id'], picture))

    def _other(self, product: int) -> int:
        title = self.rows[product]['text']
        while True:
            other = int(self.rng.integers(len(self.rows)))
            if self.rows[other]['text'] != title and self.rows[other]['images']:
                return other

    def _set(self, product: int, number: int, content: bytes, feature) -> None:
        self.rows[product]['images'][number]['bytes'] = content
        for picture in self.features[product]['pictures']:
            if picture['picture'] == number:
                picture['image_feat'] = feature

    def _feature(self, product: int, number: int):
        pictures = self.features[product]['pictures']
        return next(p['image_feat'] for p in pictures if p['picture'] == number)

    def _title(self, products: list[int]) -> None:
        for product in products:
            other = self._other(product)
            self.rows[product]['text'] = self.rows[other]['text']
            self.features[product]['text_feat'] = self.features[other]['text_feat']
            self._note('title', product)

    def _replace(self, product: int, number: int) -> None:
        other = self._other(product)
        content = reencode(self.rows[other]['images'][0]['bytes'])  # another file: not shared
        crop = Image.open(io.BytesIO(content))
        width, height = crop.size
        box = (width // 8, height // 8, width, height)
        content = jpeg(crop.crop(box))
        self._set(product, number, content, self.encode(content))

    def _odd_picture(self, products: list[int]) -> None:
        for product in products:
            number = int(self.rng.integers(1, len(self.rows[product]['images'])))
            self._replace(product, number)
            self._note('odd_picture', product, number)

    def _wrong_main(self, products: list[int]) -> None:
        for product in products:
            self._replace(product, 0)
            self._note('wrong_main', product, 0)

    def _duplicate_product(self, products: list[int]) -> None:
        for product in products:
            row, found = self.rows[product], self.features[product]
            half = len(row['images']) // 2
            words = row['text'].split()
            copy = dict(row, product_id=row['product_id'] + '-2', images=row['images'][half:])
            copy['text'] = ' '.join(words[1:] + words[:1]).upper()
            pictures = [p for p in found['pictures'] if p['picture'] >= half]
            moved = [dict(p, picture=p['picture'] - half) for p in pictures]
            self.features.append(dict(found, product_id=copy['product_id'], pictures=moved))
            self.rows.append(copy)
            row['images'] = row['images'][:half]
            found['pictures'] = [p for p in found['pictures'] if p['picture'] < half]
            self.planted['duplicate_product'].add((copy['product_id'], None))

    def _shared_picture(self, products: list[int]) -> None:
        content = text_page(['No picture', 'available'], 300, 40)
        feature = self.encode(content)
        for product in products:
            number = len(self.rows[product]['images']) - 1
            self._set(product, number, content, feature)
            self._note('shared_picture', product, number)

    def _text_only(self, products: list[int]) -> None:
        for product in products:
            lines = [' '.join(self.rng.choice(WORDS, 5)) for _ in range(10)]
            content = text_page(lines, int(self.rng.integers(300, 600)), 14)
            number = len(self.rows[product]['images']) - 1
            self._set(product, number, content, self.encode(content))
            self._note('text_only', product, number)

    def _near_duplicate(self, products: list[int]) -> None:
        for product in products:
            images, found = self.rows[product]['images'], self.features[product]['pictures']
            content = reencode(images[0]['bytes'], scale=0.8, quality=60)
            images.append(dict(images[0], bytes=content))
            found.append(dict(found[0], picture=len(images) - 1))
            self._note('near_duplicate', product, len(images) - 1)

    def _tiny(self, products: list[int]) -> None:
        for product in products:
            number = len(self.rows[product]['images']) - 1
            image = Image.open(io.BytesIO(self.rows[product]['images'][number]['bytes']))
            content = jpeg(image.convert('RGB').resize((20, 20)))
            self._set(product, number, content, self._feature(product, number))
            self._note('tiny', product, number)

    def _broken(self, products: list[int]) -> None:
        for product in products:
            number = len(self.rows[product]['images']) - 1
            image = self.rows[product]['images'][number]
            image['bytes'] = image['bytes'][: len(image['bytes']) // 3]
            found = self.features[product]
            found['pictures'] = [p for p in found['pictures'] if p['picture'] != number]
            self._note('broken', product, number)

    def _rotated(self, products: list[int]) -> None:
        for product in products:
            image = Image.open(io.BytesIO(self.rows[product]['images'][0]['bytes']))
            exif = Image.Exif()
            exif[274] = 8
            turned = image.convert('RGB').transpose(Image.Transpose.ROTATE_270)
            content = jpeg(turned, exif=exif)
            self._set(product, 0, content, self._feature(product, 0))
            self._note('rotated', product, 0)

    def _markup(self, products: list[int]) -> None:
        for product in products:
            self.rows[product]['text'] = f'<p>{self.rows[product]["text"]}&nbsp;</p>'
            self._note('markup', product)


def jpeg(image: Image.Image, quality: int = 88, **options) -> bytes:
    content = io.BytesIO()
    image.convert('RGB').save(content, 'JPEG', quality=quality, **options)
    return content.getvalue()


def reencode(content: bytes, scale: float = 1.0, quality: int = 80) -> bytes:
    image = Image.open(io.BytesIO(content)).convert('RGB')
    size = tuple(max(8, round(side * scale)) for side in image.size)
    return jpeg(image.resize(size, Image.Resampling.LANCZOS), quality)


def text_page(lines: list[str], size: int, height: int) -> bytes:
    image = Image.new('RGB', (size, size), 'white')
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=height)
    step = size / (len(lines) + 1)
    for k, line in enumerate(lines):
        draw.text((size * 0.06, step * (k + 0.5)), line, fill='black', font=font)
    return jpeg(image)
