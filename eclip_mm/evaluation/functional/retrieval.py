"""Recall and average precision of ranked lists."""

import numpy as np

PROTOCOLS = ('m5', 'fine', 'product1m', 'ir')


def recall_at_k(relevant, k: int) -> np.ndarray:
    """Is any of the first k relevant?

    Args:
        relevant: (..., R) bool, relevance in rank order.
        k: cut-off, at least 1; may exceed R.

    Returns:
        (...,) float64, 1 or 0.
    """
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    return np.asarray(relevant, dtype=bool)[..., :k].any(-1).astype(np.float64)


def ap_depth(num_relevant, num_ranked: int, k: int, protocol: str) -> np.ndarray:
    """Number of ranks that AP@k reads: min(k, |R|) for ``ir``, else min(k, |P|, |R|).

    Raises:
        ValueError: unknown protocol or k < 1.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'unknown protocol {protocol!r}, one of {PROTOCOLS}')
    if k < 1:
        raise ValueError(f'k is at least 1, got {k}')
    num_relevant = np.asarray(num_relevant, dtype=np.int64)
    depth = np.full(num_relevant.shape, min(k, num_ranked), dtype=np.int64)
    return depth if protocol == 'ir' else np.minimum(depth, num_relevant)


def precision_at_k(relevant, num_relevant, k: int) -> np.ndarray:
    """Precision@K of ``m5``: hits / k with k = min(K, |P|, |R|).

    Args:
        relevant: (..., R) bool, relevance in rank order.
        num_relevant: (...,) |P|.
        k: cut-off K.

    Returns:
        (...,) float64 in [0, 1]; 0 where |P| is 0. A random ranking scores
        |P| / gallery size.
    """
    relevant = np.asarray(relevant, dtype=bool)
    depth = ap_depth(num_relevant, relevant.shape[-1], k, 'm5')
    hits = (relevant & (np.arange(relevant.shape[-1]) < depth[..., None])).sum(-1)
    return np.divide(hits, depth, out=np.zeros(depth.shape), where=depth > 0)


def average_precision_at_k(relevant, num_relevant, k: int, protocol: str) -> np.ndarray:
    """AP@k as each protocol defines it (PROTOCOLS.md).

    Let rel_i be the relevance at rank i, hits_i the number of relevant items
    up to rank i, P the relevant set and R the ranked list.

    - ``m5``, ``fine``, ``product1m``: (1 / hits) * sum over i <= min(k, |P|, |R|) of
      rel_i * hits_i / i, where hits counts those among these ranks; 0 without
      a hit. For ``product1m`` P is the concatenation of the gallery lists of
      all labels of the query: a label that the query has twice counts twice
      in |P|.
    - ``ir``: (1 / |P|) * sum over i <= min(k, |R|) of rel_i * hits_i / i.

    Args:
        relevant: (..., R) bool, relevance in rank order, of the whole ranked
            list or its first k entries.
        num_relevant: (...,) |P|, size of the relevant set in the whole
            gallery.
        k: cut-off.
        protocol: ``m5``, ``fine``, ``product1m`` or ``ir``.

    Returns:
        (...,) float64 in [0, 1]; 0 where |P| is 0.

    Raises:
        ValueError: unknown protocol, k < 1, or more hits than |P|.
    """
    relevant = np.asarray(relevant, dtype=bool)
    num_relevant = np.asarray(num_relevant, dtype=np.int64)
    if (relevant.sum(-1) > num_relevant).any():
        raise ValueError('a ranked list has more relevant items than num_relevant says')
    depth = ap_depth(num_relevant, relevant.shape[-1], k, protocol)
    rank = np.arange(1, relevant.shape[-1] + 1)
    seen = relevant & (rank <= depth[..., None])
    total = (seen * np.cumsum(seen, -1) / rank).sum(-1)
    divisor = num_relevant if protocol == 'ir' else seen.sum(-1)
    return np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0)
