"""Search once for rankings that several metrics need."""

import hashlib

import numpy as np

from eclip_mm.evaluation.functional import topk_similarity


def search(query: np.ndarray, gallery: np.ndarray, k: int, exclude: np.ndarray) -> np.ndarray:
    """Return the indices of :func:`topk_similarity`, (Q, min(k, G))."""
    return topk_similarity(query, gallery, k, exclude=exclude)[1]


class SharedSearch:
    """:func:`search` with a cache of rankings, for the metrics of one evaluation.

    Four protocols over the same pictures rank the same gallery for the same
    queries. Searches are the same if the bytes of features and exclusions are
    the same. A shorter ranking is cut from a longer one, so the longest should
    be asked for first. The cache keeps rankings (8 k bytes per query), not
    features.
    """

    def __init__(self) -> None:
        self._found: dict[tuple, np.ndarray] = {}

    def __call__(
        self, query: np.ndarray, gallery: np.ndarray, k: int, exclude: np.ndarray
    ) -> np.ndarray:
        """Return what :func:`search` returns."""
        key = tuple(_digest(array) for array in (query, gallery, exclude))
        ranked = self._found.get(key)
        if ranked is None or ranked.shape[1] < min(k, len(gallery)):
            ranked = self._found[key] = search(query, gallery, k, exclude)
        return ranked[:, :k]


def _digest(array: np.ndarray) -> tuple:
    array = np.ascontiguousarray(array)
    return array.shape, array.dtype.str, hashlib.blake2b(array.data, digest_size=16).digest()
