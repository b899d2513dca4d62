"""Retrieval by photos that show several products (the ``product1m`` protocol).

A query has one or more labels, duplicates kept: a photo with two boxes of one
product asks for it twice. A gallery item has one label. With one label a query
everything here is ordinary retrieval.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch


class QueryLabels(NamedTuple):
    """The distinct labels of many queries, flat, ordered by query.

    Attributes:
        query: (M,) int64 index of the query.
        label: (M,) int64 code of the label.
        times: (M,) int64, how often the query has it, at least 1.
    """

    query: np.ndarray
    label: np.ndarray
    times: np.ndarray


def flatten_labels(labels: Sequence[Sequence[int]]) -> QueryLabels:
    """Bring the labels of queries into the flat form.

    Args:
        labels: Per query its label codes, duplicates kept.

    Returns:
        QueryLabels: Within a query by code.

    Raises:
        ValueError: A query has no label, or a code is negative.
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
    """Which ranked items carry a label of their query.

    Args:
        ranked: (Q, R) label codes of the ranked gallery items,
            best first; -1 where the list is over.
        labels: At least one of every query.

    Returns:
        ndarray: (Q, R) bool.
    """
    ranked = np.asarray(ranked)
    starts = np.searchsorted(labels.query, np.arange(len(ranked)))
    if len(ranked) == 0:
        return np.zeros(ranked.shape, dtype=bool)
    return np.logical_or.reduceat(_matches(ranked, labels), starts, axis=0)


def average_recall_at_n(ranked, labels: QueryLabels, available, n: int) -> np.ndarray:
    """AR@N of ``product1m``: the N places are shared among a query's labels.

    With L labels, duplicates counted, label l is expected e_l = min(times_l *
    floor(N / L), |G_l|) times in the top N and scores min(hits_l, e_l) / e_l;
    AR@N is the mean over the distinct labels. A label of which nothing is
    expected says nothing and is left out of that mean: it has no gallery item,
    or the query has more labels than there are places (L > N; then all of its
    labels). A query without any expectation scores 0.

    Args:
        ranked: (Q, R) label codes of the ranked gallery items,
            best first; -1 where the list is over.
        labels: At least one of every query.
        available: (M,) |G_l|, gallery items of each entry of
            ``labels``, the query itself not counted.
        n: Cut-off N.

    Returns:
        ndarray: (Q,) float64 in [0, 1].

    Raises:
        ValueError: n < 1.
    """
    ranked = np.asarray(ranked)
    expected = expected_hits(labels, available, n)
    hits = _matches(ranked[:, :n], labels).sum(1)
    return _mean_share(np.minimum(hits, expected), expected, labels, len(ranked))


def average_recall_chance(labels: QueryLabels, available, gallery_size, n: int) -> np.ndarray:
    """Expected AR@N of a random ranking, in closed form.

    hits_l is hypergeometric, and E[min(h, e)] = e - sum over j < e of
    (e - j) P(h = j).

    Args:
        labels: At least one of every query.
        available: (M,) as in :func:`average_recall_at_n`.
        gallery_size: (Q,) size of each query's gallery, the query
            itself not counted.
        n: Cut-off N.

    Returns:
        ndarray: (Q,) float64.

    Raises:
        ValueError: n < 1.
    """
    gallery_size = np.asarray(gallery_size, dtype=np.int64)
    expected = expected_hits(labels, available, n)
    size = gallery_size[labels.query]
    # few of the cases differ
    cases, which = np.unique(
        np.stack([expected, np.asarray(available), size], 1), axis=0, return_inverse=True
    )
    wanted, own, size = cases.T
    drawn = np.minimum(n, size)
    found = wanted.astype(np.float64)
    for j in range(int(wanted.max(initial=0))):
        missing = np.clip(wanted - j, 0, None)
        found -= missing * _hypergeometric(j, own, size, drawn)
    return _mean_share(found[which.reshape(-1)], expected, labels, len(gallery_size))


def expected_hits(labels: QueryLabels, available, n: int) -> np.ndarray:
    """e_l of :func:`average_recall_at_n`.

    Returns:
        ndarray: (M,) int64, 0 where nothing is expected.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f'n is at least 1, got {n}')
    total = np.bincount(labels.query, labels.times).astype(np.int64)  # L of each query
    return np.minimum(labels.times * (n // total[labels.query]), np.asarray(available))


def _matches(ranked: np.ndarray, labels: QueryLabels) -> np.ndarray:
    """(M, R) bool: which ranked items of the entry's query carry its label."""
    return ranked[labels.query] == labels.label[:, None]


def _mean_share(found, expected, labels: QueryLabels, num_queries: int) -> np.ndarray:
    share = np.divide(found, expected, out=np.zeros(len(expected)), where=expected > 0)
    total = np.bincount(labels.query, share, minlength=num_queries)
    asked = np.bincount(labels.query, expected > 0, minlength=num_queries)
    return np.divide(total, asked, out=np.zeros(num_queries), where=asked > 0)


def _hypergeometric(hits: int, own, size, drawn) -> np.ndarray:
    """P of exactly ``hits`` own items among ``drawn`` of ``size``; arrays of int64."""

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
