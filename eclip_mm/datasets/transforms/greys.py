"""Greys of more than eight bits, which Pillow itself would clip at 255."""

import numpy as np
from PIL import Image

_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339  # tags of TIFF
_UNSIGNED = 1
# Filters exceed the range of their input a little.
_OVERSHOOT = 1.25


def is_deep_grey(image: Image.Image) -> bool:
    """Whether a picture has one channel of 12, 16 or 32 bits, or of floating point numbers."""
    return image.mode.startswith(('I', 'F'))


def to_eight_bits(image: Image.Image) -> Image.Image:
    """A deep grey picture in mode ``L``.

    A format with up to 16 bits declares how many there are, and the upper 8 of them are kept. With
    32 bits or floating point numbers only the values can say what is black and what is white.
    Black is 0, or the smallest value if that is negative. White is

    - for whole numbers, the largest number of the fewest bits that hold them, and at least 255,
    - for floating point numbers, 1 if they are not larger, else 255 if they are not larger, else
      the largest of them.

    The smallest and largest values are those after one per cent of the pixels, lest one wrong
    pixel or a mark for "no value" turns all others black. Floating point numbers may exceed 0, 1
    and 255 by a quarter, since filters overshoot. What is beyond black and white is clipped, and
    what is not finite is black. The transparent grey of a PNG is white.
    """
    values = np.asarray(image)
    if image.mode == 'F':
        return Image.fromarray(_from_floats(values.astype(np.float64)))
    bits = _declared_bits(image)
    if image.mode == 'I' and image.format == 'TIFF' and _is_unsigned(image):
        values = values.view(np.uint32)
    values = values.astype(np.int64)
    if bits is None:
        low, high = _bounds(values)
        values -= int(min(0, low))
        bits = max(8, int(high - min(0, low)).bit_length())
    grey = (values >> (bits - 8)).clip(0, 255).astype(np.uint8)
    transparent = image.info.get('transparency')
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _from_floats(values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError('no grey value of it is a finite number')
    low, white = _bounds(values[finite])
    for usual in (1, 255):
        if white <= usual * _OVERSHOOT:
            white = usual
            break
    black = 0 if low >= white * (1 - _OVERSHOOT) else low
    grey = ((values - black) * (255 / (white - black))).clip(0, 255)
    return np.where(finite, np.rint(grey), 0).astype(np.uint8)


def _bounds(values: np.ndarray) -> tuple[float, float]:
    return tuple(np.percentile(values, (1, 99), method='nearest'))


def _declared_bits(image: Image.Image) -> int | None:
    """How many bits the values have; None if 32, which hold numbers of any size."""
    if image.format == 'TIFF':
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
        return bits if bits <= 16 and image.mode.startswith('I;16') else None
    # PNG and PPM of 16 bits are of mode I in some versions of Pillow
    return 16 if image.mode.startswith('I;16') or image.format in ('PNG', 'PPM') else None


def _is_unsigned(image: Image.Image) -> bool:
    return image.tag_v2.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
