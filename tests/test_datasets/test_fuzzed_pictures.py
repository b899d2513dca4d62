"""Mutated pictures of every format: decoded, or named; nothing else, and never all black."""

import random

import numpy as np
import pytest
from PIL import Image

from eclip_mm.datasets import ImageDecodeError
from eclip_mm.datasets.transforms import LoadCroppedImages, LoadProductImages
from helpers.pictures import FLAVOURS, orientation_exif, save

# name -> format of Pillow, mode, options of saving
KINDS = {
    **{f'{name}': values for name, values in FLAVOURS.items()},
    'jpeg_progressive': ('JPEG', 'RGB', dict(progressive=True)),
    'jpeg_cmyk': ('JPEG', 'CMYK', {}),
    'png_palette': ('PNG', 'P', {}),
    'png_alpha': ('PNG', 'LA', {}),
    'webp_lossy': ('WEBP', 'RGBA', {}),
    'gif': ('GIF', 'P', {}),
    'bmp': ('BMP', 'RGB', {}),
    'ppm': ('PPM', 'RGB', {}),
    'tga': ('TGA', 'RGB', dict(compression='tga_rle')),
    'jpeg_2000': ('JPEG2000', 'RGB', {}),
    'ico': ('ICO', 'RGBA', {}),
    'pcx': ('PCX', 'RGB', {}),
    'tiff_float': ('TIFF', 'F', {}),
    'heic': ('HEIF', 'RGB', {}),
}
MUTANTS = 60


def bright_picture(kind: str) -> bytes:
    """Noise without dark values, with an orientation."""
    form, mode, options = KINDS[kind]
    if form == 'HEIF':
        pytest.importorskip('pillow_heif')
    noise = np.random.default_rng(0).integers(60, 250, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == 'I;16':
        image = Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    if form in ('JPEG', 'PNG', 'WEBP', 'AVIF', 'TIFF', 'HEIF'):
        options = dict(options, exif=orientation_exif('H', 3, 6))
    return save(image, form, **options)


def mutate(data: bytes, rng: random.Random) -> bytes:
    mutant, at = bytearray(data), rng.randrange(len(data))
    how = rng.randrange(6)
    if how == 0:
        return data[:at]
    if how == 1:
        for _ in range(rng.randrange(1, 4)):
            mutant[rng.randrange(len(data))] = rng.randrange(256)
    elif how == 2:  # headers are short
        mutant[at % 200 if len(data) > 200 else at] = rng.randrange(256)
    elif how == 3:
        mutant[at : at + 16] = bytes(len(mutant[at : at + 16]))
    elif how == 4:
        del mutant[at : at + rng.randrange(1, 32)]
    else:
        mutant[at:at] = rng.randbytes(rng.randrange(1, 16))
    return bytes(mutant)


@pytest.mark.parametrize('kind', KINDS)
def test_mutants(kind):
    data, rng = bright_picture(kind), random.Random(kind)
    # Mutants may declare millions of pixels; decoding them would only take time.
    load = LoadProductImages(max_pixels=10**5)
    crop = LoadCroppedImages(size=8, max_pixels=10**5)
    decoded = 0
    for number in range(MUTANTS):
        mutant = mutate(data, rng) if number else data
        records = [dict(bytes=mutant, source='x', image_id='p#0')]
        try:
            image = load(dict(product_id='p', image_records=records))['images'][0]
        except ImageDecodeError as error:
            assert "picture 'p#0' of product 'p'" in str(error) and len(str(error)) < 400
            continue
        decoded += 1
        assert max(band[1] for band in image.getextrema()) > 0, f'mutant {number} is black'
        try:
            results = dict(product_id='p', image_records=records, rng=np.random.default_rng(0))
            assert crop(results)['images'][0].shape == (8, 8, 3)
        except ImageDecodeError:  # the draft of a JPEG meets other errors
            pass
    assert decoded > 0
