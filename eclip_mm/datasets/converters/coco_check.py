"""Check of a COCO detection file: what training, evaluation and conversion can use of it."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eclip_mm.datasets.converters.coco_faults import CocoFaults
from eclip_mm.datasets.converters.coco_images import check_images
from eclip_mm.datasets.converters.coco_json import read_coco_json
from eclip_mm.datasets.converters.coco_values import (
    as_box,
    as_flag,
    as_id,
    as_name,
    as_number,
    id_reader,
)
from eclip_mm.datasets.storage.schema import CatalogueError


@dataclass
class CheckedCoco:
    """What can be used of a COCO file.

    Ids are numbers if all of a list are whole numbers, and texts otherwise.

    Attributes:
        images: id -> image with ``file_name``, ``width`` and ``height`` (None where the size is
            unknown); ``size_of_file`` is true where the list does not give the size.
        categories: id -> category with ``name`` and ``supercategory`` (a text or None).
        annotations: boxes with ``image_id`` and ``category_id`` of the above, ``bbox`` (xywh in
            pixels), positive ``area``, and ``iscrowd`` 0 or 1 (1 also where ``ignore`` is set).
        faults: what was left out, and what is odd.
    """

    images: dict[int | str, dict]
    categories: dict[int | str, dict]
    annotations: list[dict]
    faults: CocoFaults


def read_categories(path: str | Path, backend_args: dict | None = None) -> list[dict]:
    """Categories of a COCO file in its order, the first of each name: the classes of a detector.

    Raises:
        CatalogueError: the file is no COCO file, or has no category.
    """
    faults = CocoFaults(str(path))
    entries = read_coco_json(path, backend_args, required=('categories',))['categories']
    categories, _ = _check_categories(entries, id_reader(entries), faults)
    if not categories:
        raise CatalogueError(f'{faults}\nno category can be used')
    by_name: dict[str, dict] = {}
    for category in categories.values():
        by_name.setdefault(category['name'], category)
    return list(by_name.values())


def check_coco(
    data: dict,
    where: str | Path,
    image_root: str | Path | None = None,
    check_files: bool = True,
    open_files: bool = False,
    as_seen: bool = True,
    sizes: dict[int | str, tuple[int, int]] | None = None,
) -> CheckedCoco:
    """Find what can be used, and name the rest.

    What is broken costs itself: an annotation, or an image or category with its boxes. A crowd
    box is not a fault, and neither is a box that is partly inside the image.

    Args:
        data: what :func:`read_coco_json` gives.
        where: path of the file, for messages.
        image_root: folder that ``file_name`` is relative to. A size that the file does not list
            is read from the picture. None looks at no picture.
        check_files: whether to leave out images without a file.
        open_files: whether to leave out images whose file is not a picture, and to take every
            size from the file.
        as_seen: whether a size from a file is that of the picture as seen, turned by its EXIF
            orientation, or as stored. mmdet loads the former.
        sizes: id -> (width, height) of images whose size the file does not list.
    """
    faults = CocoFaults(str(where))
    if 'annotations' not in data:
        faults.add('missing list', 'annotations')
    read_category, read_image = id_reader(data['categories']), id_reader(data['images'])
    categories, bad_categories = _check_categories(data['categories'], read_category, faults)
    images, bad_images, shared = check_images(
        data['images'],
        read_image,
        faults,
        None if image_root is None else str(image_root),
        check_files,
        open_files,
        as_seen,
        sizes or {},
    )
    result = CheckedCoco(images, categories, [], faults)
    seen_ids, seen_boxes = set(), set()
    for number, entry in enumerate(data.get('annotations', ())):
        if not isinstance(entry, dict):
            faults.add('no box', f'annotations[{number}] is {reprlib.repr(entry)}')
            continue
        annotation_id, box = as_id(entry.get('id')), as_box(entry.get('bbox'))
        image_id = read_image(entry.get('image_id'))
        category_id = read_category(entry.get('category_id'))
        image, repeated = images.get(image_id), annotation_id in seen_ids
        name = f'annotations[{number}]' if annotation_id is None else f'annotation {annotation_id}'
        place = f'image {image_id}' if image is None else image['file_name']
        shown = reprlib.repr(entry.get('bbox'))
        text = f'{name} ({place}), bbox {shown}, category {category_id}'
        if box is None:
            faults.add('no box', text)
            continue
        if annotation_id is None:
            faults.add('no id', text)
        else:
            seen_ids.add(annotation_id)
        if repeated:
            faults.add('repeated id', text)
        key = (image_id, category_id, *box)
        # Of two files joined to one, the ids of the second repeat those of the first.
        of_second = image_id in shared and repeated
        if image_id in bad_images or category_id in bad_categories or of_second:
            kind = 'of what is left out'
        elif image is None:
            kind = 'unknown image'
        elif category_id not in categories:
            kind = 'unknown category'
        elif key in seen_boxes:
            kind = 'repeated box'
        else:
            kind = _box_fault(box, image)
        if kind is not None:
            faults.add(kind, text)
            continue
        seen_boxes.add(key)
        if any(isinstance(v, str) for v in entry['bbox']):
            faults.add('text number', text)
        area = as_number(entry.get('area'))
        result.annotations.append(
            {
                **entry,
                'image_id': image_id,
                'category_id': category_id,
                'bbox': box,
                'area': area if area is not None and area > 0 else box[2] * box[3],
                'iscrowd': int(as_flag(entry.get('iscrowd')) or as_flag(entry.get('ignore'))),
            }
        )
    _note_corners(result)
    return result


def _check_categories(entries: list, read_id: Callable, faults: CocoFaults) -> tuple[dict, set]:
    """Id -> category, and the ids of categories that are left out."""
    categories, left_out, names = {}, set(), {}
    for number, entry in enumerate(entries):
        identity = read_id(entry.get('id')) if isinstance(entry, dict) else None
        name = as_name(entry.get('name')) if identity is not None else None
        if name is None:
            faults.add('broken category', f'categories[{number}] is {reprlib.repr(entry)}')
            left_out.update(() if identity is None else (identity,))
            continue
        if identity in categories:
            first = categories[identity]['name']
            faults.add('repeated category', f'{name!r} has the id {identity!r} of {first!r}')
            continue
        if isinstance(entry['id'], str) and isinstance(identity, int):
            faults.add('text number', f'id {entry["id"]!r} of category {name!r}')
        if name in names:
            faults.add('same name', f'categories {names[name]!r} and {identity!r} are {name!r}')
        names.setdefault(name, identity)
        group = as_name(entry.get('supercategory'))
        if group is not None and group.strip().lower() == 'none':  # Roboflow's word for no group
            group = None
        categories[identity] = {**entry, 'id': identity, 'name': name, 'supercategory': group}
    return categories, left_out - categories.keys()


def _box_fault(box: list[float], image: dict) -> str | None:
    x, y, w, h = box
    if not (w > 0 and h > 0):
        return 'zero area'
    if w < 1 or h < 1:
        return 'below a pixel'
    x1, y1, x2, y2 = clip_box(box, image)
    if x2 <= x1 or y2 <= y1:
        return 'outside the image'
    return None if x2 - x1 >= 1 and y2 - y1 >= 1 else 'below a pixel'


def clip_box(box: list[float], image: dict) -> tuple[float, float, float, float]:
    """The part of an xywh box inside its image, as xyxy; without a size only left and top clip."""
    x, y, w, h = box
    x2, y2 = x + w, y + h
    if image['width'] is not None:
        x2, y2 = min(x2, image['width']), min(y2, image['height'])
    return max(x, 0.0), max(y, 0.0), x2, y2


def _note_corners(checked: CheckedCoco) -> None:
    """Note that the boxes are xyxy: all could be, and half of them stick out of their image."""
    sizes = [checked.images[a['image_id']] for a in checked.annotations]
    out, number = 0, 0
    for annotation, image in zip(checked.annotations, sizes, strict=True):
        if image['width'] is None:
            continue
        x, y, w, h = annotation['bbox']
        if w <= x or h <= y or w > image['width'] + 1 or h > image['height'] + 1:
            return
        number += 1
        out += x + w > image['width'] + 1 or y + h > image['height'] + 1
    if out and out >= number / 2:
        checked.faults.add('corners', f'{out} of {number} boxes stick out of their image')
