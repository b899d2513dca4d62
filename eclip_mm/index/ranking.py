"""Nearest rows, one hit for each product, and how many of the true ones are found."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from eclip_mm.evaluation.functional import topk_similarity

#: numbers of similarities in a tile of the search: 64 MB
_TILE = 2**24


def check_weights(name: str | Path, own: str, given: str) -> None:
    """Refuse the queries of other weights.

    Args:
        name: of the index.
        own: ``checkpoint_sha256`` of the weights that it was built with.
        given: that of the weights that made the queries.

    Raises:
        ValueError: they are not the same.
    """
    if given != own:
        raise ValueError(
            f'{name} was built with the weights {own[:12]}, and the query is of {given[:12]}; use '
            'that model, or embed and index the catalogue with this one'
        )


def check_search(queries: np.ndarray, dims: int, k: int, per: str) -> None:
    """Refuse a search that no index can do.

    Args:
        queries: (n, D).
        dims: width of the vectors of the index.
        k: number of hits.
        per: what gives one hit.

    Raises:
        ValueError: the width, ``k`` or ``per`` is wrong.
    """
    if per not in ('product', 'row'):
        raise ValueError(f'per is product or row, got {per!r}')
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    if queries.shape[1] != dims:
        raise ValueError(f'queries are {queries.shape[1]} wide, and vectors of the index {dims}')


class ChosenRows:
    """Some rows of a matrix, for a search that reads them in tiles.

    Args:
        matrix: (N, D) array.
        ids: (n,) numbers of the rows, ascending; None for all.
    """

    def __init__(self, matrix: np.ndarray, ids: np.ndarray | None) -> None:
        self.matrix, self.ids = matrix, ids
        self.shape = (len(matrix) if ids is None else len(ids), matrix.shape[1])

    def __getitem__(self, index) -> np.ndarray:
        if self.ids is None:
            return self.matrix[index]
        ids = self.ids[index]
        if len(ids) and ids[-1] - ids[0] + 1 == len(ids) and isinstance(index, slice):
            return self.matrix[ids[0] : ids[-1] + 1]  # without a copy
        return self.matrix[ids]


def nearest_rows(
    queries: np.ndarray, matrix: np.ndarray, k: int, ids: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The exact nearest rows of each query.

    Args:
        queries: (n, D).
        matrix: (N, D) unit vectors, float32 or float16.
        k: number of rows.
        ids: (m,) ascending numbers of the rows that may be found; None for all.

    Returns:
        Scores and row numbers, (n, min(k, m)), best first; ties by the lower number.
    """
    rows = ChosenRows(matrix, ids)
    per_tile = min(len(queries), 4096) or 1
    scores, found = topk_similarity(
        queries,
        rows,
        k,
        tile=(per_tile, max(4096, min(_TILE // per_tile, 2**16))),
        unit_gallery=matrix.dtype == np.float32,
    )
    return scores, found if ids is None else ids[found]


def best_of_groups(
    search: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    num_queries: int,
    groups: np.ndarray,
    k: int,
    limit: int,
) -> list[list[tuple[float, int]]]:
    """The best row of each of the k best groups.

    Args:
        search: gives scores and row numbers of the nearest n rows of some queries, which are
            named by their numbers.
        num_queries: number of queries.
        groups: (N,) group of each row.
        k: number of groups.
        limit: number of rows that can be found at all.

    Returns:
        For each query (score, row), best first; fewer than k if there are fewer groups.
    """
    hits: list[list] = [[] for _ in range(num_queries)]
    open_, take = np.arange(num_queries), min(limit, 4 * k)
    while len(open_) and take:
        scores, rows = search(open_, take)
        for query, score, row in zip(open_, scores, rows, strict=True):
            _, first = np.unique(groups[row], return_index=True)
            first = np.sort(first)[:k]
            hits[query] = list(zip(score[first].tolist(), row[first].tolist(), strict=True))
        if take == limit:
            break
        open_ = np.array([q for q in open_ if len(hits[q]) < k], dtype=np.int64)
        take = min(limit, 4 * take)
    return hits


def nearest_in_blocks(
    queries: np.ndarray, blocks: Iterable[np.ndarray], k: int, every: int = 1
) -> np.ndarray:
    """Row numbers (n, k) of the nearest vectors among blocks that are read once.

    Args:
        queries: (n, D).
        blocks: arrays (m, D).
        k: number of rows.
        every: only rows whose number is a multiple of this count.
    """
    scores = np.full((len(queries), k), -np.inf)
    rows, start = np.full((len(queries), k), -1, dtype=np.int64), 0
    for block in blocks:
        numbers = np.arange(start, start + len(block))
        start += len(block)
        chosen = numbers % every == 0
        score, found = topk_similarity(queries, block[chosen], k)
        scores = np.concatenate([scores, score], 1)
        rows = np.concatenate([rows, numbers[chosen][found]], 1)
        order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
        scores, rows = (np.take_along_axis(x, order, 1) for x in (scores, rows))
    return rows


def recall_of(found: np.ndarray, truth: np.ndarray, own: np.ndarray) -> float:
    """Share of the true neighbours that were found, each query's own row left out.

    Args:
        found, truth: (n, k + 1) row numbers; -1 for none.
        own: (n,) row of each query.
    """
    right = total = 0
    for f, t, o in zip(found.tolist(), truth.tolist(), own.tolist(), strict=True):
        true = [row for row in t if row not in (o, -1)][: len(t) - 1]
        right += len(set(true) & set([row for row in f if row != o][: len(t) - 1]))
        total += len(true)
    return right / total if total else 1.0
