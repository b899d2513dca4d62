"""Labelled photos: how good boxes with scores are, and from which score on they are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eclip_mm.apis.box_finder import BoxFinder, FoundBox
from eclip_mm.apis.box_shape import FRACTIONS, BoxShape, FitCase, fit_shape
from eclip_mm.apis.picture_names import NamedPicture, Sought
from eclip_mm.datasets.converters.coco_file import CocoReport, read_coco
from eclip_mm.datasets.transforms.loading import LoadProductImages
from eclip_mm.evaluation.functional import pairwise_iou
from eclip_mm.utils.spread import spread_indices

#: least overlap of a right box
IOU = 0.5
#: photos that a shape is fitted to
MAX_FITTED = 50


@dataclass
class LabelledPhoto:
    """A photo with annotated boxes.

    Attributes:
        path: of the photo.
        boxes: label -> (G, 4) xyxy in pixels of the photo as seen.
    """

    path: str
    boxes: dict[str, np.ndarray]


class Choice(NamedTuple):
    """A threshold of scores and what it gave on labelled photos.

    Attributes:
        threshold: boxes with at least this score are kept.
        precision, recall, f1: of these boxes.
    """

    threshold: float
    precision: float
    recall: float
    f1: float

    def __str__(self) -> str:
        return (
            f'threshold {self.threshold:g}: precision {self.precision:.3f}, recall '
            f'{self.recall:.3f}, F1 {self.f1:.3f}'
        )


def read_labelled(
    annotations: str | Path, image_root: str | Path, labels: Iterable[str]
) -> list[LabelledPhoto]:
    """The photos of a COCO file.

    Args:
        annotations: COCO JSON file.
        image_root: folder that ``file_name`` is relative to.
        labels: categories that are looked for; the boxes of others are left out, but their photos
            are kept, since nothing must be found there.

    Raises:
        CatalogueError: the file cannot be read.
        ValueError: no box has one of the labels.
    """
    report, labels = CocoReport(), set(labels)
    listed, frames = read_coco(annotations, image_root, None, '{name}', '', 'auto', report)
    name_of = {product['product_id']: product['text'] for product in listed}
    load, photos = LoadProductImages(), []
    for frame in frames:
        boxes = load(dict(image_records=[frame]))['boxes'][0].astype(np.float64)
        of_label: dict[str, list] = {}
        for box, xyxy in zip(frame['boxes'], boxes, strict=True):
            if (name := name_of[box['product_id']]) in labels:
                of_label.setdefault(name, []).append(xyxy)
        found = {name: np.stack(several) for name, several in of_label.items()}
        photos.append(LabelledPhoto(frame['path'], found))
    if not any(photo.boxes for photo in photos):
        names = ', '.join(repr(name) for name in list(name_of.values())[:3]) or 'none'
        raise ValueError(
            f'{annotations}: no box is of a category that is looked for; its categories are '
            f'{names}, ..., and what is looked for is {", ".join(map(repr, sorted(labels)[:3]))}'
        )
    return photos


def mark_right(
    found: Sequence[FoundBox], boxes: dict[str, np.ndarray], iou: float = IOU
) -> list[bool]:
    """Which boxes of one photo are right: the best first, each annotated box fits one.

    Args:
        found: boxes.
        boxes: label -> (G, 4) annotated boxes.
        iou: least overlap of a right box.
    """
    right, free = [False] * len(found), {name: [True] * len(b) for name, b in boxes.items()}
    for k in sorted(range(len(found)), key=lambda k: -found[k].score):
        label = found[k].label
        if label not in boxes:
            continue
        overlaps = np.where(free[label], pairwise_iou([found[k].box], boxes[label])[0], -1)
        best = int(overlaps.argmax())
        if overlaps[best] >= iou:
            free[label][best], right[k] = False, True
    return right


def sought_in(
    photos: Sequence[LabelledPhoto], sought: Sequence[Sought], own: bool
) -> list[NamedPicture]:
    """Labelled photos as pictures to look into.

    Args:
        photos: labelled photos.
        sought: all that is looked for.
        own: look in a photo only for what is annotated there, as in a picture of a catalogue for
            its own products.
    """
    return [
        NamedPicture(
            photo.path,
            photo.path,
            tuple(one for one in sought if not own or one.label in photo.boxes),
        )
        for photo in photos
    ]


def fit_to_photos(
    find: BoxFinder, photos: Sequence[LabelledPhoto], sought: Sequence[Sought]
) -> tuple[BoxShape, float]:
    """:func:`~eclip_mm.apis.box_shape.fit_shape` to what is annotated in labelled photos.

    Args:
        find: looks for names.
        photos: labelled photos; at most :data:`MAX_FITTED` of them, evenly spread, are looked at.
        sought: all that is looked for.

    Returns:
        The shape and its mean IoU.
    """
    chosen = [photos[k] for k in spread_indices(len(photos), min(MAX_FITTED, len(photos)))]
    of_map = find.settings.boxes_of == 'map'

    def found_with(fraction: float | None) -> list[FitCase]:
        cases, looked_at = [], sought_in(chosen, sought, own=True)
        results = find.with_shape(BoxShape(fraction))(looked_at)
        for found, photo in zip(results, chosen, strict=True):
            best: dict[str, FoundBox] = {}
            for box in found.boxes:
                best.setdefault(box.label, box)
            cases += [
                FitCase(np.array(box.box), found.size, photo.boxes[label])
                for label, box in best.items()
            ]
        return cases

    fractions = FRACTIONS if of_map else (None,)
    return fit_shape((fraction, found_with(fraction)) for fraction in fractions)


def curve_on_photos(
    find: BoxFinder,
    photos: Sequence[LabelledPhoto],
    sought: Sequence[Sought],
    own: bool,
) -> list[Choice]:
    """:func:`curve` of what is found in labelled photos.

    Args:
        find: looks for names.
        photos, sought, own: as of :func:`sought_in`.

    Raises:
        ValueError: a photo cannot be used.
    """
    scores, right = [], []
    for found, photo in zip(find(sought_in(photos, sought, own)), photos, strict=True):
        if found.error is not None:
            raise ValueError(f'labelled photo {photo.path}: {found.error}')
        scores += [box.score for box in found.boxes]
        right += mark_right(found.boxes, photo.boxes)
    num_boxes = sum(len(boxes) for photo in photos for boxes in photo.boxes.values())
    return curve(scores, right, num_boxes)


def curve(scores: Sequence[float], right: Sequence[bool], num_boxes: int) -> list[Choice]:
    """Precision and recall at every score that occurs, the highest first.

    Args:
        scores: of all boxes.
        right: whether each is right.
        num_boxes: number of annotated boxes.
    """
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    found, choices = 0, []
    for count, k in enumerate(order, 1):
        found += right[k]
        if count < len(order) and scores[order[count]] == scores[k]:
            continue  # a threshold keeps all boxes of a score
        precision, recall = found / count, found / num_boxes
        f1 = 2 * found / (count + num_boxes)
        choices.append(Choice(scores[k], precision, recall, f1))
    return choices


def choose(choices: Sequence[Choice], min_precision: float | None = None) -> Choice:
    """The threshold with the best F1; of equal ones the highest.

    Args:
        choices: of :func:`curve`.
        min_precision: take the lowest threshold that has at least this precision instead.

    Raises:
        ValueError: there is no box, none is right, or no threshold has that precision.
    """
    if not any(choice.f1 for choice in choices):
        raise ValueError(
            'no box that was found in the labelled photos is right, so that they choose no '
            'threshold: give one by --threshold'
        )
    if min_precision is None:
        return max(choices, key=lambda choice: choice.f1)
    enough = [choice for choice in choices if choice.precision >= min_precision]
    if not enough:
        best = max(choices, key=lambda choice: choice.precision)
        raise ValueError(
            f'no threshold has a precision of {min_precision:g} in the labelled photos; the '
            f'best is {best}'
        )
    return enough[-1]
