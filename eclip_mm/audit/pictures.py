"""One pass over the pictures: hashes, miniatures, sizes, and whether they are text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eclip_mm.datasets.catalogue import Catalogue
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages

#: a JPEG is reduced while it is decoded, to at least this side
_DRAFT = 192
#: side of a miniature
_GRID = 16


@dataclass
class Picture:
    """What the pixels of a picture say.

    Attributes:
        product: row of the product in the catalogue.
        number: place of the picture in the stored row.
        file_hash: of the bytes; '' for a file that cannot be read.
        miniature: see :func:`miniature`; None of a picture that cannot be decoded as well.
        side: pixels of the shorter side.
        turned: whether it is stored turned.
        is_text: see :func:`is_text_only`.
        error: why it cannot be decoded; None if it can.
    """

    product: int
    number: int
    file_hash: str = ''
    miniature: np.ndarray | None = None
    side: int = 0
    turned: bool = False
    is_text: bool = False
    error: str | None = None


def read_pictures(catalogue: Catalogue) -> Iterator[list[Picture]]:
    """The pictures of each product, in the order of the catalogue."""
    load = LoadProductImages(draft_size=_DRAFT)
    for product in range(len(catalogue)):
        row = catalogue.load(product, boxes=False)
        found = []
        for i, image in enumerate(row['images']):
            picture = Picture(product, catalogue.image_number(product, i))
            try:
                content = image.get('bytes') or Path(image['path']).read_bytes()
                picture.file_hash = hashlib.sha256(content).hexdigest()
                loaded = load(dict(product_id=row['product_id'], image_records=[image]))
            except (ImageDecodeError, OSError) as error:
                picture.error = getattr(error, 'reason', str(error))
            else:
                pixels = np.asarray(loaded['images'][0])
                picture.side = min(loaded['ori_shape'])
                picture.turned = loaded['orientations'][0] != 1
                picture.miniature = miniature(pixels)
                picture.is_text = is_text_only(pixels)
            found.append(picture)
        yield found


def miniature(pixels: np.ndarray) -> np.ndarray | None:
    """A picture at 16 x 16 pixels.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (768,) uint8; None of a picture of one colour, which looks like any other of it.
    """
    small = cv2.resize(pixels, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    if (np.ptp(small.reshape(-1, 3), axis=0) < 8).all():
        return None
    return small.reshape(-1)


def is_text_only(pixels: np.ndarray) -> bool:
    """Whether a picture is a page of text or a table: small marks in rows on a plain background.

    A product on white is one large mark; a photo has no plain background.

    Args:
        pixels: (H, W, 3) uint8.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if min(height, width) < 48:
        return False
    if max(height, width) > 512:
        scale = 512 / max(height, width)
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = grey.shape
    plain = np.bincount(grey.ravel(), minlength=256).argmax()
    ink = (np.abs(grey.astype(np.int16) - int(plain)) > 48).astype(np.uint8)
    is_plain = np.abs(grey.astype(np.int16) - int(plain)) <= 12
    if not 0.01 < ink.mean() < 0.45 or is_plain.mean() < 0.5:
        return False
    _, _, stats, centres = cv2.connectedComponentsWithStats(ink, connectivity=8)
    boxes, centres = stats[1:], centres[1:]
    # the lines of a table are long and thin, and say nothing
    thin = np.minimum(boxes[:, 2], boxes[:, 3]) <= 3
    long = np.maximum(boxes[:, 2], boxes[:, 3]) > 0.3 * min(height, width)
    boxes, centres = boxes[~(thin & long)], centres[~(thin & long)]
    small = (boxes[:, 3] < 0.14 * height) & (boxes[:, 4] >= 4)
    if small.sum() < 12 or boxes[~small, 4].sum() > 0.25 * ink.sum():
        return False
    # letters stand in rows: few rows hold most of them
    rows = np.floor(centres[small, 1] / (0.05 * height)).astype(int)
    full = np.bincount(rows, minlength=20)
    in_rows = full[full >= 4].sum() / small.sum()
    spread = np.ptp(centres[small, 0]) / width
    return bool(in_rows >= 0.6 and spread >= 0.2)
