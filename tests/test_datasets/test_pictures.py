"""Pictures of shops and phones: orientations, deep greys, formats, and what is no picture."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from eclip_mm.datasets import ImageDecodeError, read_catalogue
from eclip_mm.datasets.converters import shrink_picture
from eclip_mm.registry import TRANSFORMS
from helpers.catalogues import encode
from helpers.pictures import (
    FLAVOURS,
    QUARTER,
    SEEN,
    inside,
    orientation_exif,
    quarter_of,
    quarter_picture,
    save,
)


def record(data, *boxes):
    named = [dict(bbox=list(box), product_id='7') for box in boxes]
    return dict(bytes=data, source='x', boxes=named)


def load(data, *boxes, type='LoadProductImages', **cfg):
    """The picture as an array, and its boxes."""
    results = dict(image_records=[record(data, *boxes)], rng=np.random.default_rng(0))
    results = TRANSFORMS.build(dict(type=type, **cfg))(results)
    return np.asarray(results['images'][0]), results['boxes'][0]


def whole(data, *boxes):
    """Both through the transform that crops, of which nothing is cut off."""
    width, height = load(data)[0].shape[1::-1]
    ratio = width / height
    options = dict(size=24, scale=(1, 1), ratio=(ratio, ratio), interpolation='bilinear')
    return load(data, *boxes, type='LoadCroppedImages', **options)


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_every_format_is_turned_once(flavour):
    """The picture and its box, loaded, cropped and scaled down, in all orientations."""
    wrong = []
    for orientation, turn in SEEN.items():
        data = quarter_picture(flavour, orientation)
        expected = turn(inside(QUARTER, (40, 60)))
        loaded, boxes = load(data, QUARTER)
        cropped, cropped_boxes = whole(data, QUARTER)
        small = shrink_picture(record(data, QUARTER), 30)
        reloaded, small_boxes = load(small['bytes'], *[b['bbox'] for b in small['boxes']])
        for name, array, (box,) in (
            ('loaded', loaded, boxes),
            ('cropped', cropped, cropped_boxes),
            ('scaled', reloaded, small_boxes),
        ):
            shown, shape = quarter_of(array), array.shape[:2]
            seen = Image.fromarray(expected).resize(shape[::-1], Image.Resampling.NEAREST)
            right = (
                (name == 'cropped' or (shape[0] > shape[1]) == (orientation >= 5))
                and np.mean(shown == np.asarray(seen)) > 0.95
                and np.mean(shown == inside(box, shape)) > 0.95
            )
            if not right:
                wrong.append((orientation, name))
    assert wrong == []


# name -> block, and whether it says a quarter turn; see `orientation_exif`
ODD_ORIENTATIONS = dict(
    short=(orientation_exif('H', 3, 6), True),
    long=(orientation_exif('I', 4, 6), True),
    byte=(orientation_exif('B', 1, 6), False),
    ascii=(orientation_exif('cc', 2, b'6', b'\0'), False),
    undefined=(orientation_exif('B', 7, 6), False),
    undefined_4=(orientation_exif('BBBB', 7, 6, 0, 0, 0), False),
    two=(orientation_exif('HH', 3, 6, 6), None),
    nan=(orientation_exif('II', 5, 0, 0, count=1), False),
    zero=(orientation_exif('H', 3, 0), False),
    nine=(orientation_exif('H', 3, 9), False),
    large=(orientation_exif('H', 3, 65535), False),
    negative=(orientation_exif('h', 8, -6), False),
    none=(orientation_exif('', 3), False),
)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'AVIF'])
def test_odd_orientations(kind):
    """What is no number from 1 to 8 leaves the picture as stored, whole and without padding."""
    array = np.full((40, 120, 3), 180, np.uint8)
    for name, (exif, turned) in ODD_ORIENTATIONS.items():
        data = save(Image.fromarray(array), kind, exif=exif)
        loaded, _ = load(data)
        cropped, _ = load(data, type='LoadCroppedImages', size=32)
        if turned is not None:  # Pillow takes the first of two, or none, depending on its version
            assert loaded.shape == ((120, 40, 3) if turned else (40, 120, 3)), (kind, name)
        assert loaded.min() > 170 and cropped.min() > 170, (kind, name)
        assert cropped.shape == (32, 32, 3)


def _png_with_raw_profile(text):
    info = Image.core and __import__('PIL.PngImagePlugin', fromlist=['PngInfo']).PngInfo()
    info.add_text('Raw profile type exif', text)
    return save(Image.new('RGB', (9, 6), 'white'), 'PNG', pnginfo=info)
