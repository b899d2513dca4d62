"""Boxes of named products in one picture after the other."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from eclip_mm.apis.box_shape import BoxShape
from eclip_mm.apis.eclip import Eclip
from eclip_mm.apis.locating import MAX_IOU
from eclip_mm.apis.picture_names import NamedPicture, Sought, all_titles
from eclip_mm.evaluation.functional import pairwise_iou

#: decimals of a stored score; thresholds are rounded alike, so that a box that a threshold was
#: chosen for is not lost by rounding
DECIMALS = 6


class FoundBox(NamedTuple):
    """A box of a product.

    Attributes:
        label: name of its category.
        score: rounded to :data:`DECIMALS`.
        box: xyxy in pixels of the picture as seen.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class FoundIn(NamedTuple):
    """What was found in a picture.

    Attributes:
        picture: where it was looked for.
        size: (width, height) of the picture as seen; None with an error.
        boxes: the best first.
        error: why the picture cannot be used, or None.
    """

    picture: NamedPicture
    size: tuple[int, int] | None
    boxes: list[FoundBox]
    error: str | None = None


@dataclass(frozen=True)
class BoxSettings:
    """How boxes are found.

    Args:
        boxes_of: ``map`` or ``regions``, see :meth:`Eclip.locate`.
        top_k: largest number of boxes of one name in a picture.
        shape: how boxes are made of the map, see :meth:`Eclip.locate`.
    """

    boxes_of: str = 'map'
    top_k: int = 1
    shape: BoxShape | None = None


class BoxFinder:
    """Looks for names in pictures.

    Args:
        eclip: a model. Its ``negatives`` compete with a name for a picture: give all names that
            are looked for in any picture.
        settings: how boxes are found.
        batch_size: number of pictures at a time.
    """

    def __init__(
        self,
        eclip: Eclip,
        settings: BoxSettings | None = None,
        batch_size: int = 32,
    ) -> None:
        self.eclip = eclip
        self.settings = BoxSettings() if settings is None else settings
        self.batch_size = batch_size

    def with_shape(self, shape: BoxShape) -> 'BoxFinder':
        """The same with boxes of another shape."""
        return BoxFinder(self.eclip, replace(self.settings, shape=shape), self.batch_size)

    def __call__(self, pictures: Iterable[NamedPicture]) -> Iterator[FoundIn]:
        """Results in the order of the pictures; one batch is in memory.

        Pictures in a row in which the same names are looked for pass the model together.
        """
        for sought, group in groupby(pictures, key=lambda picture: picture.sought):
            if sought:
                yield from self._find(sought, group)
            else:
                yield from (FoundIn(picture, None, []) for picture in group)

    def _find(
        self, sought: Sequence[Sought], pictures: Iterable[NamedPicture]
    ) -> Iterator[FoundIn]:
        waiting: deque[NamedPicture] = deque()

        def inputs():
            for picture in pictures:
                waiting.append(picture)
                yield picture.picture

        results = self.eclip.stream(
            inputs(),
            'locate',
            self.batch_size,
            names=all_titles(sought),
            negatives='model',
            **vars(self.settings),
        )
        for result in results:
            picture = waiting.popleft()
            if 'error' in result:
                yield FoundIn(picture, None, [], result['error'])
            else:
                boxes = boxes_of_labels(result['products'], sought)
                yield FoundIn(picture, (result['width'], result['height']), boxes)


def boxes_of_labels(products: Sequence[dict], sought: Sequence[Sought]) -> list[FoundBox]:
    """Boxes of names as boxes of labels, the best first.

    Of boxes of one label that overlap, such as those of two titles of a category, the best stays.

    Args:
        products: of a result of :meth:`Eclip.locate`.
        sought: labels of the names.
    """
    labels: dict[str, list[str]] = {}
    for one in sought:
        labels.setdefault(one.name, []).append(one.label)
    boxes = [
        FoundBox(label, round(found['score'], DECIMALS), tuple(found['box']))
        for product in products
        for found in product['boxes']
        for label in labels[product['name']]
    ]
    kept: list[FoundBox] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        rivals = [other.box for other in kept if other.label == box.label]
        if not (pairwise_iou([box.box], rivals) > MAX_IOU).any():
            kept.append(box)
    return kept
