"""Pictures with a marked quarter, in every format and orientation."""

import io
import struct

import numpy as np
from PIL import Image

# orientation -> the picture as seen, in numpy's words
SEEN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
# The upper left quarter of 60 x 40 pixels.
QUARTER = (0, 0, 30, 20)

# name -> format of Pillow, mode, options of saving
FLAVOURS = dict(
    jpeg=('JPEG', 'RGB', dict(quality=95)),
    png=('PNG', 'RGB', {}),
    webp=('WEBP', 'RGB', dict(lossless=True)),
    avif=('AVIF', 'RGB', dict(quality=95)),
    mpo=('MPO', 'RGB', dict(quality=95, append_images=[Image.new('RGB', (60, 40))])),
    tiff=('TIFF', 'RGB', {}),
    tiff_lzw=('TIFF', 'RGB', dict(compression='tiff_lzw')),
    tiff_deflate=('TIFF', 'RGB', dict(compression='tiff_adobe_deflate')),
    tiff_packbits=('TIFF', 'RGB', dict(compression='packbits')),
    tiff_jpeg=('TIFF', 'RGB', dict(compression='jpeg', quality=95)),
    tiff_grey=('TIFF', 'L', {}),
    tiff_cmyk=('TIFF', 'CMYK', {}),
    tiff_16_bit=('TIFF', 'I;16', {}),
    tiff_big=('TIFF', 'RGB', dict(big_tiff=True)),
)


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def quarter_picture(flavour: str, orientation: int = 1) -> bytes:
    """A picture as stored whose :data:`QUARTER` is red and the rest of it dark blue."""
    kind, mode, options = FLAVOURS[flavour]
    array = np.full((40, 60, 3), (0, 0, 200), np.uint8)
    array[:20, :30] = 250, 0, 0
    image = Image.fromarray(array)
    if mode == 'I;16':
        image = Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    return save(image, kind, exif=orientation_exif('H', 3, orientation), **options)


def quarter_of(array: np.ndarray) -> np.ndarray:
    """(height, width) bool: where a picture is red, or as bright as that in grey."""
    return np.asarray(Image.fromarray(array).convert('L')) > 49


def inside(xyxy, shape) -> np.ndarray:
    """(height, width) bool: the pixels in a box."""
    mask = np.zeros(shape[:2], bool)
    x1, y1, x2, y2 = np.rint(xyxy).astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


def orientation_exif(code: str, kind: int, *values, count: int | None = None) -> bytes:
    """An EXIF block with nothing but an orientation.

    Args:
        code: letters of :mod:`struct` for the values.
        kind: type of TIFF: 1 BYTE, 2 ASCII, 3 SHORT, 4 LONG, 5 RATIONAL, 7 UNDEFINED, ...
        values: its values.
        count: number of values; two numbers of a RATIONAL are one.
    """
    data = struct.pack('<' + code, *values)
    place = data.ljust(4, b'\0') if len(data) <= 4 else struct.pack('<I', 26)
    entry = struct.pack('<HHI', 0x0112, kind, count or len(values)) + place
    tail = data if len(data) > 4 else b''
    return b'Exif\0\0II*\0\x08\0\0\0\x01\0' + entry + b'\0\0\0\0' + tail
