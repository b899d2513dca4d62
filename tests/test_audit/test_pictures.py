"""Pictures that are the same, and pictures of text."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eclip_mm.audit.pictures import Picture, is_text_only, miniature
from eclip_mm.audit.same_pictures import SAME, PictureIndex, in_training, is_alike, same_pictures


def photo(seed, size=96):
    """A smooth picture of random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def stored(image, quality):
    content = io.BytesIO()
    image.save(content, 'JPEG', quality=quality)
    return Image.open(content).convert('RGB')


def mini(image):
    return miniature(np.asarray(image.convert('RGB')))


def test_a_miniature_survives_size_and_compression_and_tells_pictures_apart():
    picture = photo(0)
    same = [stored(picture, 60), picture.resize((240, 240)), picture.resize((64, 64))]
    assert all(is_alike(mini(picture), mini(other)) for other in same)
    others = [photo(seed) for seed in range(1, 30)] + [picture.rotate(90)]
    assert not any(is_alike(mini(picture), mini(other)) for other in others)
    assert mini(Image.new('RGB', (64, 64), 'white')) is None
    # two small things on white: the mean difference is that of copies
    on_white = [Image.new('RGB', (160, 160), 'white') for _ in range(2)]
    ImageDraw.Draw(on_white[0]).ellipse((70, 70, 84, 84), fill='red')
    ImageDraw.Draw(on_white[1]).ellipse((70, 70, 84, 84), fill='green')
    pair = [mini(image) for image in on_white]
    assert np.abs(pair[0].astype(int) - pair[1]).mean() < SAME[0] and not is_alike(*pair)


def picture(product, number, seed, file_hash=None, change=0):
    """``change`` is the mean difference to the picture of the same seed."""
    pixels = np.random.default_rng(seed).integers(20, 230, 768)
    signs = np.random.default_rng(product + number).choice([-1, 1], 768)
    pixels = (pixels + change * signs).astype(np.uint8)
    return Picture(product, number, file_hash or f'{product}-{number}', pixels)


def test_shared_pictures_and_copies():
    pictures = [
        picture(0, 0, seed=1),
        picture(0, 1, seed=2),
        picture(0, 2, seed=1, change=2),  # looks like the first
        picture(1, 0, seed=3, file_hash='same'),
        picture(2, 1, seed=4, file_hash='same'),
        picture(3, 0, seed=2, change=5),  # another picture
        Picture(4, 0, 'plain'),
        Picture(5, 0, 'other plain'),
        Picture(6, 0),  # cannot be read
    ]
    groups, ids = list(PictureIndex(pictures).groups()), [f'p{k}' for k in range(7)]
    issues = same_pictures(groups, ids)
    found = {
        (i.kind, i.product_id, i.picture, i.other_product_id, i.other_picture) for i in issues
    }
    assert found == {
        ('near_duplicate', 'p0', 2, 'p0', 0),
        ('shared_picture', 'p1', 0, 'p2', None),
        ('shared_picture', 'p2', 1, 'p1', None),
    }
    other = [picture(0, 4, seed=1, change=1), picture(1, 0, seed=9)]
    [leak] = in_training(PictureIndex(pictures), [f'p{k}' for k in range(7)], other, ['e0', 'e1'])
    assert (leak.product_id, leak.picture, leak.other_product_id, leak.other_picture) == (
        'e0',
        4,
        'p0',
        0,
    )


def test_pairs_are_those_of_a_comparison_of_all():
    """300 pictures in clusters of all distances, also one picture in several blocks of rows."""
    rng = np.random.default_rng(0)
    pictures = [
        picture(k, 0, seed=int(rng.integers(20)), change=int(rng.integers(0, 6)))
        for k in range(300)
    ]
    found = PictureIndex(pictures).same(pictures)
    for one, same in zip(pictures, found, strict=True):
        alike = [is_alike(one.miniature, other.miniature) for other in pictures]
        assert [p.product for p in same] == np.flatnonzero(alike).tolist()
    assert not PictureIndex([]).same([]) and not PictureIndex(pictures[:1]).same([])


def page_of_text(size=240, lines=9):
    image = Image.new('RGB', (size, size), 'white')
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for k in range(lines):
        draw.text((12, 12 + k * 24), f'Size {k}: waist {70 + k} cm, hip', fill='black', font=font)
    return image


def test_a_page_of_text_is_told_from_products():
    assert is_text_only(np.asarray(page_of_text()))
    chart = page_of_text()
    draw = ImageDraw.Draw(chart)
    for y in range(8, 240, 24):
        draw.line((4, y, 236, y), fill='black')
    assert is_text_only(np.asarray(chart))  # lines of a table do not hide it
    assert not is_text_only(np.asarray(photo(0, 240)))
    product = Image.new('RGB', (240, 240), 'white')
    ImageDraw.Draw(product).ellipse((60, 40, 180, 200), fill='darkred')
    assert not is_text_only(np.asarray(product))
    # a label on a product is no page of text
    ImageDraw.Draw(product).text((80, 110), 'Tea 200 g\nEarl Grey', fill='white')
    assert not is_text_only(np.asarray(product))
    assert not is_text_only(np.asarray(Image.new('RGB', (240, 240), 'white')))
    assert not is_text_only(np.asarray(page_of_text(40, 1)))
