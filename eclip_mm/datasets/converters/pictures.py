"""Scaling of stored pictures, so that training does not decode large photos."""

import io
from pathlib import Path

from PIL import Image

from eclip_mm.datasets.transforms.loading import LoadProductImages

_load = LoadProductImages()


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
        crop: part to keep, as xyxy in pixels of the picture as seen (EXIF
            orientation applied). Boxes are then dropped. None keeps the whole.

    Returns:
        The image with ``bytes`` instead of ``path``.

    Raises:
        ImageDecodeError: the picture cannot be read.
    """
    loaded = _load(dict(image_records=[image]))
    picture, boxes = loaded['images'][0], loaded['boxes'][0]
    shrunk = {key: value for key, value in image.items() if key not in ('path', 'bytes')}
    if crop is not None:
        picture = picture.crop(tuple(round(v) for v in crop))
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
