"""Checking of pictures that are stored, and scaling, so that training decodes no large photos."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages

_load = LoadProductImages()
# A JPEG is read to its end, but decoded at an eighth of its size.
_check = LoadProductImages(draft_size=1)


def check_picture(image: dict) -> dict:
    """Decode a catalogue image to see whether it can be decoded.

    Args:
        image: ``path`` or ``bytes``, and optionally ``image_id``.

    Returns:
        What ``LoadProductImages`` adds; the size of the picture in it may be reduced.

    Raises:
        ImageDecodeError: the picture cannot be decoded.
    """
    return _check(dict(image_records=[image]))


def keep_readable(row: dict, where: str, report: CatalogueReport, strict: bool = False) -> bool:
    """Leave out the pictures of a row that cannot be decoded, and name them in a report.

    Args:
        row: catalogue row that can be used and is counted so in ``report``; its list of images is
            replaced.
        where: name of the catalogue, for messages.
        report: report on the catalogue.
        strict: whether to raise an error instead.

    Returns:
        Whether a picture is left.

    Raises:
        CatalogueError: a picture cannot be decoded, where ``strict``.
    """
    kept = []
    for i, image in enumerate(row['images']):
        record = {**image, 'boxes': None, 'image_id': make_image_id(row['product_id'], i)}
        try:
            _check(dict(product_id=row['product_id'], image_records=[record]))
        except ImageDecodeError as error:
            if strict:
                raise CatalogueError(f'{where}: {error}') from error
            report.add(f'{where}: {error}')
        else:
            kept.append(image)
    report.num_missing_images += len(row['images']) - len(kept)
    if not kept:
        report.num_used -= 1
        report.num_skipped += 1
        report.add(
            f'{where}: the row of product {row["product_id"]!r} is left out: none of its '
            'pictures can be decoded'
        )
    row['images'] = kept
    return bool(kept)


def shrink_picture(
    image: dict,
    max_size: int | None,
    quality: int = 90,
    crop: tuple[float, float, float, float] | None = None,
) -> dict:
    """Scale a catalogue image and its boxes down.

    A picture that is small enough and is not cropped keeps its bytes.

    Args:
        image: ``path`` or ``bytes``, ``source`` and optionally ``boxes``.
        max_size: longest side allowed, in pixels. None keeps the size.
        quality: JPEG quality of a picture that is encoded again.
        crop: part to keep, a box as in a catalogue: xyxy in pixels of the picture
            as stored. Boxes are then dropped. None keeps the whole.

    Returns:
        The image with ``bytes`` instead of ``path``.

    Raises:
        ImageDecodeError: the picture cannot be read.
    """
    if crop is not None:
        image = {**image, 'boxes': [dict(bbox=crop, product_id='')]}
    loaded = _load(dict(image_records=[image]))
    picture, boxes = loaded['images'][0], loaded['boxes'][0]
    shrunk = {key: value for key, value in image.items() if key not in ('path', 'bytes')}
    if crop is not None:
        picture = picture.crop(tuple(np.rint(boxes[0]).astype(int).tolist()))
        shrunk.pop('boxes', None)
    longest = max(picture.size)
    if crop is None and (max_size is None or longest <= max_size):
        shrunk['bytes'] = image['bytes'] if 'bytes' in image else Path(image['path']).read_bytes()
        return shrunk
    scale = min(1.0, max_size / longest) if max_size is not None else 1.0
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    if 'boxes' in shrunk:
        sx, sy = size[0] / picture.width, size[1] / picture.height
        shrunk['boxes'] = [
            dict(
                bbox=[float(v) * s for v, s in zip(xyxy, (sx, sy, sx, sy), strict=True)],
                product_id=box['product_id'],
            )
            for xyxy, box in zip(boxes, image['boxes'], strict=True)
        ]
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(file, 'JPEG', quality=quality)
    shrunk['bytes'] = file.getvalue()
    return shrunk
