"""Pictures in memory give the pixels of their files, whatever their mode and metadata."""

import io

import numpy as np
import pytest
from PIL import Image

from eclip_mm.apis.input_pictures import PictureReader

RED, GREEN, WHITE = (204, 51, 51), (0, 153, 51), (255, 255, 255)
ODD_CODES = [0, 9, 274, b'\x06', '6', (6,), 6.5, None, -1]


def picture(mode: str) -> Image.Image:
    """Red, and green on the right; the lower half is transparent where the mode has alpha."""
    image = Image.new('RGB', (8, 4), RED)
    image.paste(GREEN, (4, 0, 8, 4))
    alpha = Image.new('L', (8, 4), 255)
    alpha.paste(0, (0, 2, 8, 4))
    if mode.startswith('I;16'):
        grey = np.asarray(image.convert('L')).astype('>u2' if mode.endswith('B') else '<u2') * 257
        return Image.frombytes(mode, (8, 4), grey.tobytes())
    image = image.convert({'La': 'LA', 'RGBa': 'RGBA', 'PA': 'P'}.get(mode, mode))
    image = image.convert(mode) if mode == 'PA' else image
    if mode.endswith(('A', 'a')):
        image.putalpha(alpha)
    return image.convert(mode)


def read(given) -> np.ndarray:
    """Pixels (H, W, 3) as the network gets them."""
    return PictureReader([dict(type='LoadProductImages')])(given).pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize('mode', sorted(Image.MODES))
def test_all_modes_of_pillow(mode):
    seen = read(picture(mode)).astype(int)
    grey = ('1', 'L', 'I', 'F')
    for place, colour in ((0, RED), (-1, GREEN)):
        if mode.startswith(grey) and mode not in ('1', 'LAB'):
            colour = [round(np.dot(colour, (0.299, 0.587, 0.114)))] * 3
        elif mode == '1':
            continue  # dithered
        np.testing.assert_allclose(seen[0, place], colour, atol=25)
    assert mode != '1' or set(seen.flat) == {0, 255}
    assert (tuple(seen[-1, 0]) == WHITE) == mode.endswith(('A', 'a'))


@pytest.mark.parametrize('code', ODD_CODES)
def test_odd_orientations_of_a_picture_in_memory_count_as_none(code):
    image = picture('RGB')
    image.getexif()[274] = code
    np.testing.assert_array_equal(read(image), np.asarray(image))


@pytest.mark.parametrize('name', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'MPO'])
def test_an_open_file_is_turned_once(name):
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 6
    picture('RGB').save(file, name, exif=exif)
    seen = read(file.getvalue())
    assert seen.shape == (8, 4, 3)
    with Image.open(file) as image:
        np.testing.assert_array_equal(read(image), seen)


def test_damaged_exif_costs_nothing():
    image = picture('RGB')
    image.info['exif'] = b'Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff'
    np.testing.assert_array_equal(read(image), np.asarray(image))
