"""Exports of shop systems for tests, with the pictures that they name."""

import re
from pathlib import Path

import numpy as np

from eclip_mm.datasets.converters.feed import Feed
from eclip_mm.datasets.converters.feed.pictures import named_pictures
from helpers.catalogues import encode

FEEDS = Path(__file__).resolve().parents[1] / 'data/feeds'
EXPORTS = {
    'shopify': FEEDS / 'shopify.csv',
    'google': FEEDS / 'google.tsv',
    'woocommerce': FEEDS / 'woocommerce.csv',
    'magento': FEEDS / 'magento.csv',
}


def picture_names(export: Path) -> list[str]:
    """Every picture that an export names, in order."""
    feed = Feed(export)
    return [name for _, name, _ in named_pictures(feed.table.rows, feed.mapping.pictures)]


def colour_of(name: str) -> tuple[int, int, int]:
    """The colour of the picture with a name, by which tests recognise it."""
    return tuple(60 + hash_of(name, k) % 180 for k in range(3))


def hash_of(name: str, k: int) -> int:
    return sum((i + k + 1) * ord(c) for i, c in enumerate(name))


def picture(name: str) -> bytes:
    """The picture with a name: one colour, 24 x 24."""
    return encode(np.full((24, 24, 3), colour_of(name), np.uint8))


def with_local_pictures(export: Path, folder: Path) -> Path:
    """A copy of an export whose URLs are paths, with the pictures beside it."""
    text = re.sub(r'https?://[^/]+/', '/', export.read_text(encoding='utf-8'))
    copy = folder / export.name
    copy.write_text(text, encoding='utf-8', newline='')
    for name in picture_names(copy):
        path = folder / name.lstrip('/')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(name))
    return copy
