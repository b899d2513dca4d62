"""EXIF orientation: the picture as stored and the picture as seen, and boxes in either frame."""

import numpy as np
from PIL import Image

#: tag of EXIF
ORIENTATION = 0x0112
_T = Image.Transpose
#: orientation -> what turns the stored picture into the one that is seen
TRANSPOSITIONS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}


def read_orientation(image: Image.Image) -> int:
    """Orientation of an open picture, from 1 to 8.

    It is 1, the picture as stored, where there is none, where it is not one of these numbers
    (cameras also write bytes and texts), and where the metadata are damaged: that must not cost a
    sound picture.
    """
    try:
        code = image.getexif().get(ORIENTATION)
        return int(code) if code in TRANSPOSITIONS else 1  # as in Pillow's `exif_transpose`
    except Exception:  # Pillow lets through whatever its parsers of EXIF and TIFF stumble over
        return 1


def read_sizes(image: Image.Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) as stored and as seen of an open picture that is not loaded yet."""
    size = image.size
    if image.format == 'PNG':
        image.load()  # its EXIF may stand behind the pixels
    turned = turn_size(size, read_orientation(image))
    # Pillow gives a TIFF the size as seen as soon as it is open.
    return (turned, size) if image.format == 'TIFF' else (size, turned)


def turn_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) as seen of a picture with (width, height) as stored, or the reverse."""
    return size[::-1] if orientation >= 5 else size


def turn_boxes(xyxy: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes of the picture as stored in the picture as seen.

    Args:
        xyxy: (K, 4) in pixels of the stored picture.
        orientation: from 1 to 8.
        size: (width, height) of the stored picture.

    Returns:
        (K, 4) xyxy in pixels of the picture as seen.
    """
    x1, y1, x2, y2 = xyxy.T
    width, height = size
    left, right, top, bottom = width - x2, width - x1, height - y2, height - y1
    columns = {
        1: (x1, y1, x2, y2),
        2: (left, y1, right, y2),
        3: (left, top, right, bottom),
        4: (x1, top, x2, bottom),
        5: (y1, x1, y2, x2),
        6: (top, x1, bottom, x2),
        7: (top, left, bottom, right),
        8: (y1, left, y2, right),
    }[orientation]
    return np.stack(columns, axis=1)


def turn_boxes_back(xyxy: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """The inverse of :func:`turn_boxes`; ``size`` is again that of the stored picture."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return turn_boxes(xyxy, inverse, turn_size(size, orientation))
