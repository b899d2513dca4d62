"""Retrieval by photos that show several products (the ``product1m`` protocol).

A query has one or more labels, and duplicates count: a photo with two boxes of
one product asks for it twice. A gallery item has one label. If every query has
one label, all of this is ordinary retrieval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch


class QueryLabels(NamedTuple):
    """The distinct labels of many queries as flat arrays, ordered by query.

    Attributes:
        query: (M,) int64 index of the query.
        label: (M,) int64 code of the label.
        times: (M,) int64, how often the query has the label, at least 1.
    """

    query: np.ndarray
    label: np.ndarray
    times: np.ndarray


def flatten_labels(labels: Sequence[Sequence[int]]) -> QueryLabels:
    """Convert the labels of queries to the flat form.

    Args:
        labels: label codes of each query, with duplicates.

    Returns:
        Labels ordered by query, then by code.

    Raises:
        ValueError: a query has no label, or a code is negative.
    """
    lengths = np.array([len(own) for own in labels], dtype=np.int64)
    if (lengths == 0).any():
        raise ValueError(f'query {int(lengths.argmin())} has no label')
    pairs = np.empty((lengths.sum(), 2), dtype=np.int64)
    pairs[:, 0] = np.repeat(np.arange(len(labels)), lengths)
    pairs[:, 1] = [code for own in labels for code in own]
    if (pairs < 0).any():
        raise ValueError('label codes are not negative')
    pairs, times = np.unique(pairs, axis=0, return_counts=True)
    return QueryLabels(pairs[:, 0], pairs[:, 1], times.astype(np.int64))


def instance_relevance(ranked, labels: QueryLabels) -> np.ndarray:
    """Mark the ranked items that have a label of their query.

    Args:
        ranked: (Q, R) label codes of the ranked gallery items, best first;
            -1 after the end of a list.
        labels: at least one label of every query.

    Returns:
        (Q, R) bool.
    """
    ranked = np.asarray(ranked)
    starts = np.searchsorted(labels.query, np.arange(len(ranked)))
    if len(ranked) == 0:
        return np.zeros(ranked.shape, dtype=bool)
    return np.logical_or.reduceat(_matches(ranked, labels), starts, axis=0)


def average_recall_at_n(ranked, labels: QueryLabels, available, n: int) -> np.ndarray:
    """AR@N of ``product1m``: a query's labels divide the N ranks among them.

    A query has L labels, duplicates included. Label l is expected e_l =
    min(times_l * floor(N / L), |G_l|) times in the top N and scores
    min(hits_l, e_l) / e_l; AR@N is the mean over the distinct labels. Labels
    with e_l = 0 are left out of this mean: labels without a gallery item, and
    all labels of a query that has more labels than ranks (L > N). A query
    whose labels are all left out scores 0.

    Args:
        ranked: (Q, R) label codes of the ranked gallery items, best first;
            -1 after the end of a list.
        labels: at least one label of every query.
        available: (M,) |G_l|, number of gallery items for each entry of
            ``labels``, without the query itself.
        n: cut-off N.

    Returns:
        (Q,) float64 in [0, 1].

    Raises:
        ValueError: n < 1.
    """
    ranked = np.asarray(ranked)
    expected = expected_hits(labels, available, n)
    hits = _matches(ranked[:, :n], labels).sum(1)
    return _mean_recall(np.minimum(hits, expected), expected, labels, len(ranked))


def average_recall_chance(labels: QueryLabels, available, gallery_size, n: int) -> np.ndarray:
    """Expected AR@N of a random ranking, in closed form.

    hits_l is hypergeometric, and E[min(h, e)] = e - sum over j < e of
    (e - j) P(h = j).

    Args:
        labels: at least one label of every query.
        available: (M,) as in :func:`average_recall_at_n`.
        gallery_size: (Q,) size of each query's gallery, without the query
            itself.
        n: cut-off N.

    Returns:
        (Q,) float64.

    Raises:
        ValueError: n < 1.
    """
    gallery_size = np.asarray(gallery_size, dtype=np.int64)
    expected = expected_hits(labels, available, n)
    size = gallery_size[labels.query]
    # compute each distinct case once: there are few
    cases, which = np.unique(
        np.stack([expected, np.asarray(available), size], 1), axis=0, return_inverse=True
    )
    wanted, own, size = cases.T
    drawn = np.minimum(n, size)
    found = wanted.astype(np.float64)
    for j in range(int(wanted.max(initial=0))):
        missing = np.clip(wanted - j, 0, None)
        found -= missing * _hypergeometric(j, own, size, drawn)
    return _mean_recall(found[which.reshape(-1)], expected, labels, len(gallery_size))


def expected_hits(labels: QueryLabels, available, n: int) -> np.ndarray:
    """Expected hits e_l of :func:`average_recall_at_n`.

    Returns:
        (M,) int64.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f'n is at least 1, got {n}')
    total = np.bincount(labels.query, labels.times).astype(np.int64)  # L of each query
    return np.minimum(labels.times * (n // total[labels.query]), np.asarray(available))


def _matches(ranked: np.ndarray, labels: QueryLabels) -> np.ndarray:
    """Mark the ranked items of each entry's query that have its label, (M, R) bool."""
    return ranked[labels.query] == labels.label[:, None]


def _mean_recall(found, expected, labels: QueryLabels, num_queries: int) -> np.ndarray:
    """Mean of found / expected over the labels of each query, (Q,)."""
    recall = np.divide(found, expected, out=np.zeros(len(expected)), where=expected > 0)
    total = np.bincount(labels.query, recall, minlength=num_queries)
    asked = np.bincount(labels.query, expected > 0, minlength=num_queries)
    return np.divide(total, asked, out=np.zeros(num_queries), where=asked > 0)


def _hypergeometric(hits: int, own, size, drawn) -> np.ndarray:
    """Probability of exactly ``hits`` own items among ``drawn`` of ``size``; int64 arrays."""

    def log_choose(total, part):
        total, part = torch.from_numpy(total + 0.0), torch.from_numpy(part + 0.0)
        return (
            torch.lgamma(total + 1) - torch.lgamma(part + 1) - torch.lgamma(total - part + 1)
        ).numpy()

    possible = (hits <= own) & (hits <= drawn) & (drawn - hits <= size - own)
    own, size, drawn = (x[possible] for x in (own, size, drawn))
    chance = np.zeros(len(possible))
    chance[possible] = np.exp(
        log_choose(own, np.full_like(own, hits))
        + log_choose(size - own, drawn - hits)
        - log_choose(size, drawn)
    )
    return chance
