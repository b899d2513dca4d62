"""Silhouettes, patterns and brand marks as inequalities on coordinate grids.

Only ``+ - * /``, comparisons and ``floor`` are applied to pixels: they are exact in IEEE 754, so
that a picture is the same on every machine. Trigonometry is computed once per vertex in Python and
rounded, see :func:`polar`.
"""

import math

import numpy as np


def polar(angle: float, radius: float = 1.0) -> tuple[float, float]:
    """(radius * cos, radius * sin) rounded to 6 decimals.

    libm may differ by one unit in the last place between machines; rounding removes that.
    """
    return round(radius * math.cos(angle), 6), round(radius * math.sin(angle), 6)


def _polygon(vertices):
    """Even-odd test against a closed polygon given as [(u, v), ...]."""

    def inside(u, v):
        mask = np.zeros(u.shape, dtype=bool)
        for (x1, y1), (x2, y2) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
            if y1 == y2:
                continue
            crosses = (y1 > v) != (y2 > v)
            mask ^= crosses & (u < (x2 - x1) * (v - y1) / (y2 - y1) + x1)
        return mask

    return inside


def _disc(u, v, cu, cv, radius):
    du, dv = u - cu, v - cv
    return du * du + dv * dv <= radius * radius


def _box(u, v, cu, cv, half_u, half_v):
    return (np.abs(u - cu) <= half_u) & (np.abs(v - cv) <= half_v)


def _heart(u, v):
    x, y = u * 1.2, 0.15 - v * 1.2
    a = x * x + y * y - 1.0
    return a * a * a - x * x * y * y * y <= 0


_STAR = _polygon(
    [polar(-math.pi / 2 + k * math.pi / 5, 1.0 if k % 2 == 0 else 0.45) for k in range(10)]
)
_HEXAGON = _polygon([polar(k * math.pi / 3, 0.95) for k in range(6)])
_CONE = _polygon([(0.0, -0.95), (0.9, 0.9), (-0.9, 0.9)])
_SHIRT = _polygon(
    [
        (-0.35, -0.9),
        (0.35, -0.9),
        (0.98, -0.5),
        (0.75, 0.05),
        (0.5, -0.1),
        (0.5, 0.95),
        (-0.5, 0.95),
        (-0.5, -0.1),
        (-0.75, 0.05),
        (-0.98, -0.5),
    ]
)

_SILHOUETTES = {
    'ball': lambda u, v: _disc(u, v, 0, 0, 0.92),
    'box': lambda u, v: _box(u, v, 0, 0, 0.82, 0.82),
    'bottle': lambda u, v: _box(u, v, 0, 0.35, 0.5, 0.6) | _box(u, v, 0, -0.6, 0.2, 0.4),
    'mug': lambda u, v: (
        _box(u, v, -0.2, 0, 0.6, 0.8) | (_disc(u, v, 0.45, 0, 0.5) & ~_disc(u, v, 0.45, 0, 0.28))
    ),
    'ring': lambda u, v: _disc(u, v, 0, 0, 0.95) & ~_disc(u, v, 0, 0, 0.42),
    'star': _STAR,
    'heart': _heart,
    'cone': _CONE,
    'cross': lambda u, v: _box(u, v, 0, 0, 0.95, 0.36) | _box(u, v, 0, 0, 0.36, 0.95),
    'moon': lambda u, v: _disc(u, v, 0, 0, 0.95) & ~_disc(u, v, 0.5, 0, 0.72),
    'tile': _HEXAGON,
    'shirt': _SHIRT,
}

_MARKS = {
    'dot': lambda u, v: _disc(u, v, 0, 0, 0.8),
    'hoop': lambda u, v: _disc(u, v, 0, 0, 0.95) & ~_disc(u, v, 0, 0, 0.5),
    'bar': lambda u, v: _box(u, v, 0, 0, 0.95, 0.35),
    'pole': lambda u, v: _box(u, v, 0, 0, 0.35, 0.95),
    'plus': lambda u, v: _box(u, v, 0, 0, 0.95, 0.28) | _box(u, v, 0, 0, 0.28, 0.95),
    'saltire': lambda u, v: (np.abs(u - v) <= 0.4) | (np.abs(u + v) <= 0.4),
    'triangle': _CONE,
    'square': lambda u, v: _box(u, v, 0, 0, 0.75, 0.75),
    'diamond': lambda u, v: np.abs(u) + np.abs(v) <= 0.95,
    'frame': lambda u, v: _box(u, v, 0, 0, 0.9, 0.9) & ~_box(u, v, 0, 0, 0.5, 0.5),
    'arc': lambda u, v: _disc(u, v, 0, 0, 0.95) & (v <= 0),
    'chevron': lambda u, v: np.abs(v - np.abs(u) + 0.4) <= 0.4,
}

_PATTERNS = {
    'plain': lambda u, v: np.zeros(u.shape, dtype=bool),
    'striped': lambda u, v: np.floor(u * 3.0) % 2 == 0,
    'dotted': lambda u, v: _disc(
        u * 2.5 - np.floor(u * 2.5), v * 2.5 - np.floor(v * 2.5), 0.5, 0.5, 0.36
    ),
    'checked': lambda u, v: (np.floor(u * 2.5) + np.floor(v * 2.5)) % 2 == 0,
    'banded': lambda u, v: np.abs(v) <= 0.3,
    'halved': lambda u, v: u > 0,
    'diagonal': lambda u, v: np.floor((u + v) * 2.2) % 2 == 0,
}


def silhouette(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Boolean mask of a shape; ``u`` right and ``v`` down, both about [-1, 1]."""
    return _SILHOUETTES[shape](u, v)


def pattern_mask(pattern: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a pattern shows the product's second colour."""
    return _PATTERNS[pattern](u, v)


def mark_mask(mark: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a brand mark lies, in the mark's own coordinates in [-1, 1]."""
    inside = (np.abs(u) <= 1) & (np.abs(v) <= 1)
    return _MARKS[mark](u, v) & inside
