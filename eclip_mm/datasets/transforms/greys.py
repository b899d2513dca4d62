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

    - 1, for floating point numbers up to 1,
    - otherwise the largest number of the fewest bits that hold all values, and at least 255.

    Floating point numbers may exceed 1 and 255 by a quarter, and are clipped, since filters
    overshoot. Those that are not finite are black. The transparent grey of a PNG is white.
    """
    values = np.asarray(image)
    if image.mode == 'F':
        return Image.fromarray(_from_floats(values.astype(np.float64)))
    bits = _declared_bits(image)
    if image.mode == 'I' and image.format == 'TIFF' and _is_unsigned(image):
        values = values.view(np.uint32)
    values = values.astype(np.int64)
    if bits is None:
        values -= min(0, values.min())
        bits = max(8, int(values.max()).bit_length())
    grey = (values >> (bits - 8)).clip(0, 255).astype(np.uint8)
    transparent = image.info.get('transparency')
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _from_floats(values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    low = min(0.0, values[finite].min(initial=0))
    values = np.where(finite, values - low, 0)
    largest = values.max()
    if largest <= _OVERSHOOT:
        white = 1
    elif largest <= 255 * _OVERSHOOT:
        white = 255
    else:
        white = 2.0 ** int(largest).bit_length() - 1
    return np.rint(values * (255 / white)).clip(0, 255).astype(np.uint8)


def _declared_bits(image: Image.Image) -> int | None:
    """How many bits the values have; None if 32, which hold numbers of any size."""
    if image.format == 'TIFF':
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
        return bits if bits <= 16 and image.mode.startswith('I;16') else None
    # PNG and PPM of 16 bits are of mode I in some versions of Pillow
    return 16 if image.mode.startswith('I;16') or image.format in ('PNG', 'PPM') else None


def _is_unsigned(image: Image.Image) -> bool:
    return image.tag_v2.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
