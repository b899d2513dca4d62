"""A catalogue and its features with one fault of each kind that an audit finds."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from helpers.catalogues import write_rows
from helpers.feature_folders import write_vectors

NUM, DIMS = 40, 16


@dataclass
class Planted:
    folder: Path
    catalogue: Path
    features: Path


def photo(seed: int, size: int = 96, **options) -> bytes:
    """A JPEG of random smooth colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    image = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
    return jpeg(image, **options)


def jpeg(image: Image.Image, turned: bool = False, quality: int = 92) -> bytes:
    content = io.BytesIO()
    exif = Image.Exif()
    if turned:
        exif[274] = 6
    image.save(content, 'JPEG', quality=quality, exif=exif)
    return content.getvalue()


def page_of_text() -> bytes:
    image = Image.new('RGB', (240, 240), 'white')
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for k in range(9):
        draw.text((12, 12 + k * 24), f'Size {k}: waist {70 + k} cm, hip', fill='black', font=font)
    return jpeg(image)


def plant(folder: Path, order: slice = slice(None)) -> Planted:
    """Products p0 to p39 of one category with three pictures each, and their faults."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(NUM, DIMS)) * 3
    rows, features = [], []
    for k in range(NUM):
        pictures = [photo(10 * k + j) for j in range(3)]
        vectors = centres[k] + rng.normal(size=(3, DIMS)) * 0.5
        title = centres[k] + rng.normal(size=DIMS) * 0.5
        rows.append(dict(product_id=f'p{k}', text=f'product {k}', category='c', images=pictures))
        features.append(dict(product_id=f'p{k}', category='c', text=title, pictures=vectors))

    def feature(k, j=slice(None)):
        return features[k]['pictures'][j]

    features[3]['text'], features[4]['text'] = -features[3]['text'], -features[4]['text']
    feature(10)[2] = -centres[10]
    feature(12)[0] = -centres[12]
    rows[20]['text'], rows[21]['text'] = 'Blue tea pot', 'tea pot, blue'
    features[21] = {**features[20], 'product_id': 'p21'}
    for k in (30, 31, 32):
        rows[k]['images'][k % 3] = photo(777)
    rows[33]['images'][2] = photo(330, quality=60)  # picture 0 again
    rows[34]['images'][1] = b'no picture'
    rows[35]['images'][0] = photo(350, size=16)
    rows[36]['images'][0] = photo(360, turned=True)
    rows[37]['text'] = '<b>product</b> 37'
    rows[38]['images'][1] = page_of_text()
    for row in rows:
        row['images'] = [dict(bytes=content, source='merchant') for content in row['images']]
    folder.mkdir(exist_ok=True)
    write_rows(rows[order], folder / 'catalogue.parquet')
    evaluation = [photo(0, quality=70), photo(4000)]
    images = [dict(bytes=content, source='comment') for content in evaluation]
    write_rows(
        [dict(product_id='e0', text='product 0', category='c', images=images)],
        folder / 'evaluation.parquet',
    )
    write_vectors(folder / 'features', features[order])
    return Planted(folder, folder / 'catalogue.parquet', folder / 'features')
