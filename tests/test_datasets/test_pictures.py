"""Pictures of shops and phones: orientations, deep greys, formats, and what is no picture."""

import json
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from eclip_mm.datasets import ImageDecodeError
from eclip_mm.datasets.converters import shrink_picture
from eclip_mm.registry import TRANSFORMS
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


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
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


# EXIF that no parser likes; a picture is sound nevertheless
DAMAGED_EXIF = dict(
    no_tiff=b'Exif\0\0no TIFF at all',
    short=b'Exif\0\0II',
    empty=b'Exif\0\0',
    cut=orientation_exif('H', 3, 6)[:20],
    far=b'Exif\0\0II*\0\xff\xff\xff\x7f',
    endless=b'Exif\0\0II*\0\x08\0\0\0\xff\xff' + bytes(range(60)),
    zeros=b'Exif\0\0' + bytes(40),
)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'HEIF'])
def test_damaged_exif_costs_no_picture(kind):
    if kind == 'HEIF':
        pytest.importorskip('pillow_heif')
    image = Image.new('RGB', (60, 40), (180, 190, 200))
    for name, exif in DAMAGED_EXIF.items():
        loaded, _ = load(save(image, kind, exif=exif))
        assert loaded.shape == (40, 60, 3) and loaded.min() > 170, name


def test_damaged_text_of_a_png():
    """EXIF as a text of hexadecimal digits that are none, as old programs write it."""
    info = PngInfo()
    info.add_text('Raw profile type exif', '\nexif\n  4\nzz')
    assert load(save(Image.new('RGB', (6, 4), 'white'), 'PNG', pnginfo=info))[0].min() == 255


def _is_red(array):
    return (array[..., 0] > 150) & (array[..., 1:].max(-1) < 100)


@pytest.mark.data
def test_cases_of_orientation(cases_root):
    folder = cases_root / '01-tiff-orientation'
    for line in (folder / 'cat.jsonl').read_text(encoding='utf-8').splitlines():
        (image,) = json.loads(line)['images']
        path = folder / image['path']
        array, boxes = load(path.read_bytes(), image['boxes'][0]['bbox'])
        with Image.open(path) as opened:
            seen = np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))
        assert np.array_equal(array, seen), path
        assert np.mean(inside(boxes[0], array.shape) == _is_red(array)) > 0.97, path


@pytest.mark.data
def test_cases_of_broken_exif(cases_root):
    paths = sorted((cases_root / '02-broken-exif').glob('*.jpg'))
    assert len(paths) == 7
    for path in paths:
        with Image.open(path) as stored:
            expected = np.asarray(stored.convert('RGB'))
        assert np.array_equal(load(path.read_bytes())[0], expected), path
        cropped, _ = whole(path.read_bytes())
        assert cropped.shape == (24, 24, 3)
        assert np.abs(cropped.mean((0, 1)) - expected.mean((0, 1))).max() < 4, path


RAMP = np.linspace(0, 1, 24).repeat(4).reshape(6, 16)
SIGNED, UNSIGNED, FLOAT = 2, 1, 3


def grey_tiff(array, bits, sample_format):
    """A grey TIFF of numbers of any type, which Pillow itself cannot write."""
    height, width = array.shape
    data = array.tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 150)]
    tags += [(277, 1), (278, height), (279, len(data)), (339, sample_format)]
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    head = b'II*\0\x08\0\0\0' + struct.pack('<H', len(tags)) + entries + bytes(4)
    return head.ljust(150, b'\0') + data


def packed_12_bits(values):
    pairs = values.astype(np.uint32).reshape(-1, 2)
    joined = pairs[:, 0] << 12 | pairs[:, 1]
    return np.frombuffer(b''.join(int(v).to_bytes(3, 'big') for v in joined), np.uint8)


def tiff_12_bits(values):
    data = packed_12_bits(values)
    return grey_tiff(data.reshape(len(values), -1), 12, UNSIGNED).replace(
        struct.pack('<HHII', 256, 4, 1, data.size // len(values)),
        struct.pack('<HHII', 256, 4, 1, values.shape[1]),
    )


# name -> file whose greys rise evenly from black to white
DEEP = dict(
    png_16=save(Image.fromarray((RAMP * 65535).astype(np.uint16)), 'PNG'),
    tiff_16=grey_tiff((RAMP * 65535).astype(np.uint16), 16, UNSIGNED),
    tiff_12=tiff_12_bits((RAMP * 4095).astype(np.uint16)),
    tiff_16_signed=grey_tiff((RAMP * 65535 - 32768).astype(np.int16), 16, SIGNED),
    tiff_32=grey_tiff((RAMP * 4294967295).astype(np.uint32), 32, UNSIGNED),
    tiff_32_signed=grey_tiff((RAMP * 2147483647).astype(np.int32), 32, SIGNED),
    tiff_32_of_8=grey_tiff((RAMP * 255).astype(np.int32), 32, SIGNED),
    tiff_32_of_12=grey_tiff((RAMP * 4095).astype(np.int32), 32, SIGNED),
    tiff_32_of_16=grey_tiff((RAMP * 65535).astype(np.uint32), 32, UNSIGNED),
    float_1=grey_tiff(RAMP.astype(np.float32), 32, FLOAT),
    float_255=grey_tiff((RAMP * 255).astype(np.float32), 32, FLOAT),
    float_65535=grey_tiff((RAMP * 65535).astype(np.float32), 32, FLOAT),
    float_signed=grey_tiff((RAMP * 2 - 1).astype(np.float32), 32, FLOAT),
    float_nan=grey_tiff(np.where(RAMP > 0, RAMP, np.nan).astype(np.float32), 32, FLOAT),
    float_infinite=grey_tiff(np.where(RAMP > 0, RAMP, np.inf).astype(np.float32), 32, FLOAT),
    pgm_16=b'P5 16 6 65535\n' + (RAMP * 65535).astype('>u2').tobytes(),
)


@pytest.mark.parametrize('name', DEEP)
def test_deep_greys(name):
    """Neither black nor white nor clipped: the ramp is there, in 8 bits."""
    array, _ = load(DEEP[name])
    assert array.shape == (6, 16, 3)
    assert np.abs(array[..., 0].astype(int) - np.floor(RAMP * 255.99)).max() <= 2


def test_outlier_of_a_deep_grey():
    """One dead pixel, or a value that marks nothing, leaves the others as they are."""
    values = np.full((40, 40), 100.0, np.float32)
    values[0, 0] = -1e30
    values[1, 1] = 1e30
    assert np.median(load(grey_tiff(values, 32, FLOAT))[0]) == 100
    whole_numbers = np.full((40, 40), 100, np.int32)
    whole_numbers[0, 0] = 2**31 - 1
    assert np.median(load(grey_tiff(whole_numbers, 32, SIGNED))[0]) == 100


def test_transparent_grey_of_16_bits():
    data = save(Image.fromarray(np.array([[0, 40000]], np.uint16)), 'PNG', transparency=0)
    assert load(data)[0][0].tolist() == [[255] * 3, [40000 >> 8] * 3]


def boxed(brand):
    return struct.pack('>I4s4sI', 24, b'ftyp', brand, 0) + brand + b'mif1'


NO_PICTURES = dict(
    heic=(boxed(b'hevx'), 'HEIC.*pip install pillow-heif'),
    jpeg_xl=(b'\xff\x0a' + bytes(40), 'JPEG XL.*pip install pillow-jxl-plugin'),
    jpeg_xl_box=(b'\0\0\0\x0cJXL \r\n\x87\n' + bytes(40), 'JPEG XL'),
    svg=(b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'SVG.*PNG'),
    svg_xml=(b'<?xml version="1.0"?>\n<!-- a -->\n<svg width="9">', 'SVG'),
    svg_doctype=(b'\xef\xbb\xbf<?xml version="1.0"?><!DOCTYPE svg PUBLIC "a"><svg>', 'SVG'),
    html=(b'\n<!DOCTYPE html><html>', 'HTML page'),
    xml=(b'<?xml version="1.0"?><Error><Code>AccessDenied', 'XML document'),
    json=(b'{"error": "no such key"}', 'not a picture but JSON'),
    ds_store=(b'\0\0\0\x01Bud1\0', r'\.DS_Store'),
    lfs=(b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer.*git lfs pull'),
    pdf=(b'%PDF-1.7', 'PDF'),
    zip=(b'PK\x03\x04', 'archive'),
    mp4=(boxed(b'isom'), 'video'),
    empty=(b'', r'empty \(0 bytes\)'),
    zeros=(bytes(5000), 'zeros'),
    cut_png=(b'\x89PNG\r\n\x1a', 'begins like a PNG.*damaged'),
    cut_tiff=(b'II*\0\x08', 'begins like a TIFF.*damaged'),
    text=(b'hello', 'not a picture of a known format'),
)


@pytest.mark.parametrize('name', NO_PICTURES)
def test_what_is_no_picture(name):
    """The message says what the file is, from bytes and from a file alike."""
    data, reason = NO_PICTURES[name]
    with pytest.raises(ImageDecodeError, match=f'cannot be decoded: it .*{reason}') as error:
        load(data)
    assert len(str(error.value)) < 200


def test_paths_that_are_no_files(tmp_path):
    transform = TRANSFORMS.build(dict(type='LoadProductImages'))
    (tmp_path / 'page.jpg').write_text('<html>')
    for name, reason in (
        ('', 'it is a folder'),
        ('page.jpg', 'an HTML page'),
        ('a\0b', 'ValueError|null'),
    ):
        with pytest.raises(ImageDecodeError, match=reason):
            transform(dict(image_records=[dict(path=f'{tmp_path}/{name}', source='x')]))


def test_dds_of_an_unknown_kind():
    """Pillow raises NotImplementedError."""
    data = bytearray(save(Image.new('RGB', (8, 8)), 'DDS'))
    data[76 + 4 : 76 + 12] = struct.pack('<I4s', 4, b'XXXX')  # flags and name of the pixel format
    with pytest.raises(ImageDecodeError, match="picture '0' of product.*NotImplementedError"):
        load(bytes(data))


def test_a_tiff_without_all_of_its_strips():
    """Pillow leaves the rest of it black."""
    data = bytearray(save(Image.new('RGB', (60, 40), 'white'), 'TIFF'))
    at = data.index(struct.pack('<HHI', 257, 4, 1)) + 8
    data[at : at + 4] = struct.pack('<I', 400)
    with pytest.raises(ImageDecodeError, match='too few strips for 60 x 400 pixels'):
        load(bytes(data))


def test_no_warning_without_the_name_of_the_file(capfd):
    """Pillow warns of EXIF, palettes, sizes and MPO, and libtiff prints to standard error."""
    palette = Image.new('P', (9, 9))
    palette.putpalette([1, 2, 3] * 5)
    tiff = bytearray(quarter_picture('tiff_lzw'))
    tiff[200:260] = bytes(60)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load(save(Image.new('RGB', (9, 9)), 'JPEG', exif=DAMAGED_EXIF['endless']))
        load(save(palette, 'PNG', transparency=b'\0\1\2'))
        load(save(Image.new('1', (13000, 7000)), 'PNG'), max_pixels=10**8)
        for data in (bytes(tiff), quarter_picture('tiff_deflate')[:-40]):
            with pytest.raises(ImageDecodeError):
                load(data)
    assert capfd.readouterr() == ('', '')


def test_heic_of_a_phone():
    """Where pillow-heif is installed; it turns the picture itself."""
    pytest.importorskip('pillow_heif')
    array = np.full((40, 60, 3), (0, 0, 200), np.uint8)
    array[:20, :30] = 250, 0, 0
    for orientation, turn in SEEN.items():
        exif = orientation_exif('H', 3, orientation)
        loaded, _ = load(save(Image.fromarray(array), 'HEIF', exif=exif, quality=95))
        assert np.mean(quarter_of(loaded) == turn(inside(QUARTER, (40, 60)))) > 0.97, orientation
