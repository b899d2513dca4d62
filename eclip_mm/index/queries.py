"""Queries by words, photo, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages

#: shortest side of a box that is searched for, in pixels
MIN_SIDE = 4


class Encoder(Protocol):
    """What makes vectors of queries, such as ``Eclip``.

    Attributes:
        checkpoint: ``sha256`` of the weights.
    """

    checkpoint: dict

    def encode(self, inputs) -> list[dict]:
        """``vector`` (D,) of each text, path, picture, or dict of ``image`` and ``text``."""


def encoded_queries(encoder: Encoder, inputs: Sequence) -> dict:
    """Vectors of queries, as arguments of ``VectorIndex.search``.

    Raises:
        ValueError: an input cannot be encoded, such as a broken picture.
    """
    results = encoder.encode(list(inputs))
    for number, result in enumerate(results, 1):
        if 'error' in result:
            raise ValueError(f'query {number}: {result["error"]}')
    vectors = np.stack([np.asarray(result['vector'], np.float32) for result in results])
    return dict(vectors=vectors, checkpoint_sha256=encoder.checkpoint['sha256'])


def encode_each(encoder: Encoder, queries: Sequence, feature: str) -> list[dict]:
    """``vector`` of each query (:func:`query_parts`), or ``error`` of one that cannot be used.

    Args:
        encoder: makes the vectors.
        queries: texts, paths, and dicts of ``image`` and ``text``, as ``Eclip.encode`` takes them.
        feature: of the index: ``image``, ``instance`` or ``text``.
    """
    parts = [query_parts(q, feature) if isinstance(q, dict) else [q] for q in queries]
    results = iter(encoder.encode([part for of_query in parts for part in of_query]))
    found = []
    for of_query in parts:
        own = [next(results) for _ in of_query]
        bad = next((result for result in own if 'error' in result), None)
        vector = bad or np.sum([result['vector'] for result in own], axis=0, dtype=np.float32)
        found.append(bad or dict(vector=vector))
    return found


def query_parts(query: dict, feature: str) -> list[dict]:
    """What is encoded for one query; the vector of the query is the sum of its unit vectors.

    Words and a photo are encoded each by itself: among features of whole pictures their sum finds
    more than either. Only an index of instance features is searched with the instance vector of
    both.

    Args:
        query: ``text``, ``image`` or both, as ``Eclip.encode`` takes it.
        feature: of the index: ``image``, ``instance`` or ``text``.
    """
    if feature == 'instance':
        return [query]
    return [{key: value} for key, value in query.items() if value is not None] or [query]


@dataclass(frozen=True)
class Query:
    """What a person searches for; it has words, a photo, or both.

    Attributes:
        words: empty for none.
        photo: bytes of a picture file; None for none.
        box: xyxy in pixels of the photo as it is seen: the part that is searched for; None for
            the whole photo.
        where: conditions that all hits meet, see ``VectorIndex.search``.
    """

    words: str = ''
    photo: bytes | None = None
    box: tuple[float, float, float, float] | None = None
    where: tuple[str | tuple, ...] = ()

    def vectors(self, encoder: Encoder, feature: str) -> dict:
        """The vector of the query (:func:`query_parts`), as arguments of ``VectorIndex.search``.

        Args:
            encoder: makes the vectors.
            feature: of the index: ``image``, ``instance`` or ``text``.

        Raises:
            ValueError: the query is empty, or its photo or box cannot be used; the message is a
                sentence for the person who searches.
        """
        words = self.words.strip()
        if not words and self.photo is None:
            raise ValueError('Type some words or add a photo to search for.')
        query: dict = dict(text=words) if words else {}
        if self.photo is not None:
            photo = read_photo(self.photo)
            box = (0, 0, *photo.size) if self.box is None else check_box(self.box, photo.size)
            query['image'] = photo.crop(box)
        elif self.box is not None:
            raise ValueError('A box needs a photo.')
        found = encoded_queries(encoder, query_parts(query, feature))
        return dict(found, vectors=found['vectors'].sum(axis=0, keepdims=True))


def read_photo(file: bytes) -> Image.Image:
    """Decode the bytes of a picture file to an upright RGB picture.

    Raises:
        ValueError: it cannot be decoded; the message is a sentence.
    """
    try:
        return LoadProductImages()(dict(image_records=[dict(bytes=file)]))['images'][0]
    except ImageDecodeError as error:
        raise ValueError(f'This file cannot be used as a photo: {error.reason}.') from error


def check_box(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a box that lies in a picture, its corners in order and in whole pixels.

    Args:
        box: xyxy; any two opposite corners.
        size: (width, height) of the picture.

    Raises:
        ValueError: the part is too small to show something.
    """
    xs, ys = sorted(box[0::2]), sorted(box[1::2])
    x1, x2 = (round(min(max(x, 0), size[0])) for x in xs)
    y1, y2 = (round(min(max(y, 0), size[1])) for y in ys)
    if x2 - x1 < MIN_SIDE or y2 - y1 < MIN_SIDE:
        raise ValueError(
            f'The box has less than {MIN_SIDE} x {MIN_SIDE} pixels in the photo, which is '
            f'{size[0]} x {size[1]}. Draw a larger one.'
        )
    return x1, y1, x2, y2
