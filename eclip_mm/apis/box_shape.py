"""How boxes are cut out of score maps, and its fit to boxes that were drawn."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from eclip_mm.evaluation.functional import clip_boxes, pairwise_iou

#: what is tried in a fit
FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5)
SIZES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
ASPECTS = (0.0, 0.5, 1.0, 1.5)


class BoxShape(NamedTuple):
    """How a box is made of the part of a map where a product is.

    A map of few tokens blurs products: a box above a fraction of the peak is too small or too
    large by the same factor for all products of a model. And most networks see a picture squashed
    to a square, in which the blur is round, so that boxes of tall pictures are too tall.

    Attributes:
        fraction: of the peak of the map, above which a connected part is a product; None for boxes
            that do not come from the map.
        size: factor of width and height.
        aspect: with a picture of W x H, the width is multiplied by (H / W)^(aspect / 2), and the
            height divided by it.
    """

    fraction: float | None = None
    size: float = 1.0
    aspect: float = 0.0

    def reshape(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Scale boxes about their centres.

        Args:
            boxes: (K, 4) xyxy in pixels of the picture.
            size: its (width, height).

        Returns:
            (K, 4), inside the picture.
        """
        stretch = (size[1] / size[0]) ** (self.aspect / 2)
        half = (boxes[:, 2:] - boxes[:, :2]) / 2 * self.size * [stretch, 1 / stretch]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return clip_boxes(np.concatenate([centres - half, centres + half], axis=1), size[::-1])


class FitCase(NamedTuple):
    """A box that was found, and those that were drawn there.

    Attributes:
        box: (4,) xyxy in pixels of the picture, without size and aspect.
        size: (width, height) of the picture.
        drawn: (G, 4) annotated boxes of what was looked for.
    """

    box: np.ndarray
    size: tuple[int, int]
    drawn: np.ndarray


def fit_shape(cases: Iterable[tuple[float | None, list[FitCase]]]) -> tuple[BoxShape, float]:
    """The shape whose boxes overlap the drawn ones most.

    Args:
        cases: for each fraction that was tried what was found.

    Returns:
        The shape, the first of equal ones, and its mean IoU.

    Raises:
        ValueError: nothing was found.
    """
    tried = [(_mean_iou(shape, found), shape) for shape, found in _shapes(cases)]
    if not tried:
        raise ValueError(
            'nothing was found in the labelled photos, so that no shape can be fitted'
        )
    best = max(tried, key=lambda pair: pair[0])
    return best[1], best[0]


def _shapes(cases) -> Iterator[tuple[BoxShape, list[FitCase]]]:
    for fraction, found in cases:
        if found:
            for size, aspect in product(SIZES, ASPECTS):
                yield BoxShape(fraction, size, aspect), found


def _mean_iou(shape: BoxShape, cases: list[FitCase]) -> float:
    overlaps = [
        pairwise_iou(shape.reshape(case.box[None], case.size), case.drawn).max() for case in cases
    ]
    return float(np.mean(overlaps))
