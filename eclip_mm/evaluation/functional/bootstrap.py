"""Confidence intervals of a mean over queries."""

import numpy as np


def bootstrap_interval(
    scores, level: float = 0.95, num_resamples: int = 1000, seed: int = 0, groups=None
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of per-query scores.

    Queries are drawn with replacement or, with ``groups``, whole groups of
    queries: photos of one product have title and appearance in common, so ten
    photos of five products carry less information than photos of ten products.
    The mean depends only on how often each distinct pair of a group's sum and
    size is drawn. The function therefore draws these multinomial counts, which
    is fast and independent of the order of the queries.

    Args:
        scores: (N,) one score per query.
        level: coverage, between 0 and 1.
        num_resamples: number of bootstrap samples.
        seed: equal arguments give equal intervals.
        groups: (N,) group of each query. By default each query is a group of
            its own.

    Returns:
        Lower and upper end. Both are the mean if there is one query or all
        scores are equal.

    Raises:
        ValueError: there is no score, or one is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    if len(scores) == 0:
        raise ValueError('a bootstrap interval needs at least one score')
    if not np.isfinite(scores).all():
        raise ValueError('the scores have values that are not finite')
    if not 0 < level < 1:
        raise ValueError(f'level is a coverage between 0 and 1, got {level}')
    sums, sizes = scores, np.ones(len(scores))
    if groups is not None:
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        sums, sizes = np.bincount(codes, scores), np.bincount(codes).astype(np.float64)
    (values, weights), counts = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    step = max(1, 2**22 // len(values))  # bounds the count matrix to 32 MiB
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = rng.multinomial(len(sums), counts / len(sums), size=size)
        means[start : start + size] = drawn @ values / (drawn @ weights)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
