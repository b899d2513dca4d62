"""The faults of a COCO detection file: every one named and counted."""

import os
from dataclasses import dataclass, field

#: kind of fault -> what is done about it
KINDS = {
    'zero area': 'boxes without area left out',
    'outside the image': 'boxes outside of their image left out',
    'unknown category': 'boxes of a category that the file does not list left out',
    'unknown image': 'boxes of an image that the file does not list left out',
    'missing file': 'images without a file left out',
}


@dataclass
class CocoFaults:
    """Faults of one annotation file.

    Attributes:
        where: Path of the file, for messages.
        faults: Kind of :data:`KINDS` -> description of each fault.
        bad_annotations: Ids of annotations to leave out.
        bad_images: Ids of images to leave out.
    """

    where: str
    faults: dict[str, list[str]] = field(default_factory=dict)
    bad_annotations: set = field(default_factory=set)
    bad_images: set = field(default_factory=set)

    def add(self, kind: str, text: str) -> None:
        self.faults.setdefault(kind, []).append(text)

    def __str__(self) -> str:
        lines = [f'{self.where}:']
        for kind, texts in self.faults.items():
            shown = '; '.join(texts[:3])
            more = f'; and {len(texts) - 3} more' if len(texts) > 3 else ''
            lines.append(f'  - {len(texts)} {KINDS[kind]}: {shown}{more}')
        return '\n'.join(lines) if self.faults else f'{self.where}: no fault found'


def box_fault(annotation: dict, images: dict, categories) -> str | None:
    """Why a box cannot be used: a kind of :data:`KINDS`, or None.

    Args:
        annotation: An annotation with ``image_id``, ``category_id`` and ``bbox``.
        images: Id -> image with ``width`` and ``height``.
        categories: Ids that exist.
    """
    image = images.get(annotation['image_id'])
    x, y, w, h = annotation['bbox']
    if image is None:
        return 'unknown image'
    if annotation['category_id'] not in categories:
        return 'unknown category'
    if not (w > 0 and h > 0):
        return 'zero area'
    if x >= image['width'] or y >= image['height'] or x + w <= 0 or y + h <= 0:
        return 'outside the image'
    return None


def check_coco(data: dict, image_root: str | None, where: str) -> CocoFaults:
    """Find boxes and images that training and evaluation cannot use.

    Crowd boxes are not faults. Neither are boxes that extend beyond the edge, as long as a part of
    them is inside.

    Args:
        data: A COCO detection file: ``images``, ``annotations``, ``categories``.
        image_root: Folder that ``file_name`` is relative to; None does not look for the files.
        where: Path of the file, for messages.
    """
    result = CocoFaults(str(where))
    images = {image['id']: image for image in data['images']}
    categories = {category['id'] for category in data['categories']}
    if image_root is not None:
        for image in data['images']:
            path = os.path.join(image_root, image['file_name'])
            if not os.path.isfile(path):
                result.add('missing file', path)
                result.bad_images.add(image['id'])
    for annotation in data.get('annotations', ()):
        kind = box_fault(annotation, images, categories)
        if kind is None:
            continue
        image = images.get(annotation['image_id'])
        place = f'image {annotation["image_id"]}' if image is None else image['file_name']
        result.add(
            kind,
            f'annotation {annotation["id"]} ({place}), bbox {list(annotation["bbox"])}, '
            f'category {annotation["category_id"]}',
        )
        result.bad_annotations.add(annotation['id'])
    return result
