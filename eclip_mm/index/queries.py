"""Queries by words, photo, or both."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


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
