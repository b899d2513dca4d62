"""Loading and cropping in one transform, compared with two transforms."""

import io

import numpy as np
import pytest
from PIL import Image

from eclip_mm.datasets import ImageDecodeError
from eclip_mm.datasets.transforms.load_cropped import _reduced
from eclip_mm.registry import TRANSFORMS
from helpers.catalogues import encode


def photo(width, height, kind='JPEG', seed=0, **options) -> bytes:
    """Patches of colour with sharp edges and some grain, as photos have them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    array = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    array = array.astype(int) + rng.integers(-6, 7, (height, width, 1))
    array[height // 3 : height // 2, width // 4 : width // 2] = [250, 20, 40]
    return encode(array.clip(0, 255).astype(np.uint8), kind, **options)


def run(transforms, *pictures, seed=0, boxes=()):
    record = dict(source='s', boxes=[dict(bbox=b, product_id='q') for b in boxes])
    results = dict(
        product_id='7',
        image_records=[dict(record, bytes=data) for data in pictures],
        rng=np.random.default_rng(seed),
    )
    for cfg in transforms:
        results = TRANSFORMS.build(cfg)(results)
    return results


def both(*pictures, size=64, seed=0, boxes=(), **options):
    """Results of (one transform, two transforms)."""
    options = dict(size=size, **options)
    return (
        run([dict(type='LoadCroppedImages', **options)], *pictures, seed=seed, boxes=boxes),
        run(
            [dict(type='LoadProductImages'), dict(type='RandomResizedCrop', **options)],
            *pictures,
            seed=seed,
            boxes=boxes,
        ),
    )


def difference(ours, theirs):
    return np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear', 'nearest', 'lanczos'])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_at_full_scale_only_rounding_differs(interpolation, kind):
    """Compared with PIL's crop and resize; its `box` would use pixels outside the region."""
    pictures = [photo(130, 100, kind, seed=s) for s in (0, 1)]
    for seed in range(5):
        ours, theirs = both(
            *pictures, seed=seed, interpolation=interpolation, boxes=[[9, 9, 80, 60]]
        )
        crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=64))
        rng = np.random.default_rng(seed)
        for k, data in enumerate(pictures):
            stored = Image.open(io.BytesIO(data)).convert('RGB')
            region = stored.crop(crop.draw_region(130, 100, rng))
            expected = region.resize((64, 64), Image.Resampling[interpolation.upper()])
            if interpolation in ('bicubic', 'bilinear'):
                error = difference(ours['images'][k], expected)
                assert error.max() <= 4
                assert error.mean() < 0.3
            else:
                assert difference(ours['images'][k], theirs['images'][k]).max() == 0
        assert ours['rng'].random() == theirs['rng'].random()  # the same numbers were drawn
        assert np.array_equal(ours['boxes'][1], theirs['boxes'][1])
        assert ours['ori_shape'] == theirs['ori_shape'] == (100, 130)


@pytest.mark.parametrize(('width', 'height'), [(800, 800), (1203, 901), (1600, 1100)])
def test_at_reduced_scale_the_pictures_look_the_same(width, height):
    """Compared with two transforms on the same region: only the decoder's averaging differs."""
    data = photo(width, height)
    plain = Image.open(io.BytesIO(data)).convert('RGB')
    for seed in range(6):
        decoded, drawn = [], []
        transform = TRANSFORMS.build(dict(type='LoadCroppedImages', size=112, scale=(0.5, 1.0)))
        apply = transform.crop.apply

        def spy(results, i, region, apply=apply, decoded=decoded, drawn=drawn):
            decoded.append(results['images'][i].size)
            drawn.append(region)
            apply(results, i, region)

        transform.crop.apply = spy
        results = transform(
            dict(
                product_id='7',
                image_records=[dict(bytes=data, source='s')],
                rng=np.random.default_rng(seed),
            )
        )
        ((w, _),), ((x1, y1, x2, y2),) = decoded, drawn
        assert w < width  # it was reduced, and the region keeps its pixels
        assert x2 - x1 >= 112
        assert y2 - y1 >= 112
        factor = round(width / w)
        box = (x1 * factor, y1 * factor, min(x2 * factor, width), min(y2 * factor, height))
        expected = plain.resize((112, 112), Image.Resampling.BICUBIC, box=box)
        error = difference(results['images'][0], expected)
        assert error.mean() < 1.5
        assert np.percentile(error, 99) < 12
        # and the region is the one that was drawn, to half a pixel of the reduced picture
        crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=112, scale=(0.5, 1.0)))
        region = crop.draw_region(width, height, np.random.default_rng(seed))
        assert np.abs(np.subtract(box, region)).max() <= factor / 2


def test_scales_by_hand():
    """The largest of 1/2, 1/4, 1/8 at which the region keeps its 100 pixels."""
    data = photo(800, 800)
    for share, reduced in ((1.0, 100), (0.99, 200), (0.25, 200), (0.24, 400), (0.06, 800)):
        transform = TRANSFORMS.build(
            dict(type='LoadCroppedImages', size=100, scale=(share, share), ratio=(1.0, 1.0))
        )
        sizes = []
        transform.crop.apply = lambda r, i, region, sizes=sizes: sizes.append(r['images'][i].size)
        transform(
            dict(
                product_id='7',
                image_records=[dict(bytes=data, source='s')],
                rng=np.random.default_rng(0),
            )
        )
        assert sizes == [(reduced, reduced)], share


def test_regions_in_pixels_of_the_reduced_picture():
    assert _reduced((10, 20, 30, 41), 2, (50, 100)) == (5, 10, 15, 20)
    assert _reduced((10, 20, 30, 41), 1, (100, 200)) == (10, 20, 30, 41)
    assert _reduced((0, 0, 101, 101), 8, (13, 13)) == (0, 0, 13, 13)
    assert _reduced((0, 0, 1, 1), 1, (1, 1)) == (0, 0, 1, 1)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(('width', 'height'), [(120, 90), (640, 480)])
def test_orientation(orientation, width, height):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = photo(width, height, exif=exif)
    ours, theirs = both(data, seed=3, scale=(0.5, 1.0), boxes=[[20, 20, 80, 60]])
    # half a reduced pixel moves sharp edges at the larger size
    assert difference(ours['images'][0], theirs['images'][0]).mean() < (1 if width < 200 else 6)
    assert np.allclose(ours['boxes'][0], theirs['boxes'][0], atol=1.5)


def test_broken_pictures_are_named():
    good = photo(100, 80)
    with pytest.raises(ImageDecodeError, match="of product '7'.*truncated") as caught:
        run([dict(type='LoadCroppedImages', size=32)], good, good[: len(good) // 2])
    assert caught.value.image_index == 1
    with pytest.raises(ImageDecodeError, match='100 x 80 pixels'):
        run([dict(type='LoadCroppedImages', size=32, max_pixels=7999)], good)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomGray', prob=1.0),
        dict(type='ColorJitter', brightness=0.3, hue=0.1),
        dict(type='Resize', size=20),
        dict(type='RandomResizedCrop', size=20),
    ],
)
def test_the_other_transforms_take_its_arrays(cfg):
    """They treat arrays as they treat PIL images; boxes follow."""
    data = photo(100, 80)
    loaded = run([dict(type='LoadCroppedImages', size=40)], data, boxes=[[5, 5, 90, 70]])
    assert isinstance(loaded['images'][0], np.ndarray)
    as_pictures = dict(
        loaded,
        images=[Image.fromarray(image) for image in loaded['images']],
        boxes=list(loaded['boxes']),
        box_product_ids=list(loaded['box_product_ids']),
    )
    results = []
    for start in (loaded, as_pictures):
        transform = TRANSFORMS.build(cfg)
        results.append(transform(dict(start, rng=np.random.default_rng(1))))
    ours, theirs = results
    assert np.array_equal(np.asarray(ours['images'][0]), np.asarray(theirs['images'][0]))
    assert np.array_equal(ours['boxes'][0], theirs['boxes'][0])
