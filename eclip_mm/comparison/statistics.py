"""Means over seeds with intervals by Student's t distribution, computed exactly."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: mean of the n values.
        low, high: ends of its 95% interval; None for a single value.
        n: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """Half of the interval's length, which is written after ±."""
        return None if self.low is None else (self.high - self.low) / 2


def t_coverage(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's T with whole degrees of freedom.

    The finite series of Abramowitz and Stegun 26.7.3 and 26.7.4, with
    tan(theta) = t / sqrt(freedom)::

        even:  sin theta (1 + 1/2 cos^2 + (1 3)/(2 4) cos^4 + ... cos^(freedom-2))
        odd:   2/pi (theta + sin theta (cos + 2/3 cos^3 + ... cos^(freedom-2)))
    """
    theta = math.atan(t / math.sqrt(freedom))
    cos, sin = math.cos(theta), math.sin(theta)
    odd = freedom % 2
    term, total = (cos if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cos**2
    return 2 / math.pi * (theta + sin * total) if odd else sin * total


def t_quantile(coverage: float, freedom: int) -> float:
    """Return the t with P(|T| <= t) = ``coverage``: 4.303 for 95% and 2 degrees of freedom.

    Raises:
        ValueError: ``coverage`` is not between 0 and 1, or ``freedom`` is less
            than 1.
    """
    if not 0 < coverage < 1 or freedom < 1:
        raise ValueError(
            f'coverage lies between 0 and 1 and freedom is at least 1, got {coverage}, {freedom}'
        )
    low, high = 0.0, 1.0
    while t_coverage(high, freedom) < coverage:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if t_coverage(middle, freedom) < coverage:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_interval(values: Sequence[float], coverage: float = 0.95) -> Estimate:
    """Compute the mean of one figure over seeds, with the interval of the mean.

    ::

        mean ± t(coverage, n - 1) s / sqrt(n),   s^2 = sum (x_k - mean)^2 / (n - 1)

    The interval covers the mean over other seeds of the same training on the
    same test set. It does not cover other test sets; for these the metrics
    have ``num_bootstrap``.

    Args:
        values: (n,) one figure per seed, n >= 1.
        coverage: coverage of the interval.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0 or not np.isfinite(values).all():
        raise ValueError(f'a mean over seeds needs finite values, got {values.tolist()}')
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = t_quantile(coverage, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def paired_difference(
    ours: dict[int, float], theirs: dict[int, float], coverage: float = 0.95
) -> Estimate | None:
    """Compute the mean difference of two runs with its interval, paired by seed.

    The mean is over the differences of equal seeds, so an effect that a seed
    has on both runs (order of the data, augmentations) cancels out.

    Args:
        ours, theirs: seed -> figure.
        coverage: coverage of the interval.

    Returns:
        :func:`mean_interval` of ``ours - theirs``; None without a common seed.
    """
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return None
    return mean_interval([ours[seed] - theirs[seed] for seed in seeds], coverage)
