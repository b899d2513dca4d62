import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from eclip_mm.datasets import ImageDecodeError
from eclip_mm.registry import TRANSFORMS
from helpers.catalogues import encode, plain_png


def build(type, **cfg):
    return TRANSFORMS.build(dict(type=type, **cfg))


def results_of(array, boxes=(), seed=0, **record):
    """``results`` after loading one picture; boxes are named 'b0', 'b1', ..."""
    return dict(
        images=[Image.fromarray(array)],
        rng=np.random.default_rng(seed),
        boxes=[np.array(boxes, dtype=np.float32).reshape(-1, 4)],
        box_product_ids=[[f'b{i}' for i in range(len(boxes))]],
    )


def load(data, boxes=None, **cfg):
    record = dict(bytes=data, source='merchant', image_id='7#3')
    if boxes is not None:
        record['boxes'] = [dict(bbox=b, product_id='7') for b in boxes]
    results = build('LoadProductImages', **cfg)(dict(product_id='7', image_records=[record]))
    return results


class TestLoading:
    def test_bytes_and_path(self, tmp_path):
        array = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        (tmp_path / 'a.png').write_bytes(encode(array))
        records = [
            dict(bytes=encode(array), source='x'),
            dict(
                path=str(tmp_path / 'a.png'),
                source='x',
                boxes=[dict(bbox=[1, 2, 3, 4], product_id='q')],
            ),
        ]
        results = build('LoadProductImages')(dict(product_id='7', image_records=records))
        for image in results['images']:
            assert np.array_equal(np.asarray(image), array)
        assert results['ori_shape'] == (5, 7)
        assert results['boxes'][0].shape == (0, 4)
        assert results['boxes'][1].tolist() == [[1, 2, 3, 4]]
        assert results['boxes'][1].dtype == np.float32
        assert results['box_product_ids'] == [[], ['q']]

    def test_transparent_becomes_white(self):
        rgba = np.zeros((2, 2, 4), dtype=np.uint8)
        rgba[0, 0] = [10, 20, 30, 255]
        rgba[0, 1] = [0, 0, 0, 128]  # black at half: 255 * 127 / 255
        array = np.asarray(load(encode(rgba))['images'][0])
        assert array[0, 0].tolist() == [10, 20, 30]
        assert array[1, 1].tolist() == [255, 255, 255]
        assert array[0, 1].tolist() == [127, 127, 127]

    def test_palette_with_transparency(self):
        image = Image.new('P', (2, 1))
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putdata([0, 1])
        file = io.BytesIO()
        image.save(file, 'PNG', transparency=1)
        array = np.asarray(load(file.getvalue())['images'][0])
        assert array.tolist() == [[[255, 0, 0], [255, 255, 255]]]

    def test_grey_and_16_bit(self):
        assert np.asarray(load(encode(np.full((1, 1), 9, np.uint8)))['images'][0]).tolist() == [
            [[9, 9, 9]]
        ]
        deep = load(encode(np.array([[0x8012, 0xFFFF]], np.uint16)))['images'][0]
        assert np.asarray(deep)[0].tolist() == [[0x80] * 3, [0xFF] * 3]

    @pytest.mark.parametrize('orientation', range(1, 9))
    def test_exif_orientation_moves_boxes(self, orientation):
        """The marked pixels are inside the moved box and nowhere else."""
        array = np.zeros((6, 9, 3), dtype=np.uint8)
        array[1:3, 4:8] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        results = load(encode(array, exif=exif), boxes=[[4, 1, 8, 3]])
        seen = np.asarray(results['images'][0])
        assert seen.shape == ((9, 6, 3) if orientation >= 5 else (6, 9, 3))
        x1, y1, x2, y2 = results['boxes'][0][0].astype(int)
        expected = np.zeros_like(seen)
        expected[y1:y2, x1:x2] = 255
        assert np.array_equal(seen, expected)
        assert results['ori_shape'] == (6, 9)

    def test_orientation_6_by_hand(self):
        """Turned a quarter to the right: (x, y) of a 6-high picture goes to (6 - y, x)."""
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encode(np.zeros((6, 9, 3), dtype=np.uint8), exif=exif)
        assert load(data, boxes=[[4, 1, 8, 3]])['boxes'][0].tolist() == [[3, 4, 5, 8]]

    def test_draft_shrinks_jpeg_and_boxes(self):
        data = encode(np.zeros((64, 128, 3), dtype=np.uint8), 'JPEG')
        results = load(data, boxes=[[0, 0, 64, 32]], draft_size=20)
        assert results['images'][0].size == (64, 32)
        assert results['boxes'][0].tolist() == [[0, 0, 32, 16]]
        assert results['ori_shape'] == (64, 128)

    @pytest.mark.parametrize(
        ('data', 'reason'),
        [
            (b'not a picture', 'not a picture of a known format'),
            (plain_png(3)[:-30], 'cannot be decoded: .*truncated'),
            (
                encode(
                    np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), 'JPEG'
                )[:900],
                'cannot be decoded: .*truncated',
            ),
        ],
        ids=['text', 'png', 'jpeg'],
    )
    def test_broken_picture(self, data, reason):
        with pytest.raises(ImageDecodeError, match=reason) as error:
            load(data)
        assert "picture '7#3' of product '7' (bytes in the catalogue)" in str(error.value)
        assert error.value.image_index == 0

    def test_missing_file_and_missing_picture(self):
        transform = build('LoadProductImages')
        good = dict(bytes=plain_png(1), source='x')
        for record, reason in (
            (dict(path='/gone.jpg'), r'\(/gone.jpg\).*there is no such file'),
            (dict(source='x'), 'neither path nor bytes'),
        ):
            with pytest.raises(ImageDecodeError, match=reason) as error:
                transform(dict(product_id='7', image_records=[good, record]))
            assert error.value.image_index == 1

    def test_bomb_is_refused_before_decoding(self):
        def chunk(kind, body):
            return (
                struct.pack('>I', len(body))
                + kind
                + body
                + struct.pack('>I', zlib.crc32(kind + body))
            )

        header = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
        bomb = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'0'))
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(ImageDecodeError, match='60000 x 60000 pixels.*max_pixels'):
            load(bomb)
        assert Image.MAX_IMAGE_PIXELS == before
        with pytest.raises(ImageDecodeError, match='24 x 16 pixels'):
            load(plain_png(1), max_pixels=100)


class TestGeometry:
    def test_resize_scales_boxes(self):
        results = results_of(np.zeros((10, 40, 3), np.uint8), [[4, 2, 20, 10]])
        build('Resize', size=20)(results)
        assert results['images'][0].size == (20, 20)
        assert results['boxes'][0].tolist() == [[2, 4, 10, 20]]
        results = results_of(np.zeros((10, 40, 3), np.uint8), [[4, 2, 20, 10]])
        build('Resize', size=(30, 20), interpolation='bilinear')(results)
        assert results['images'][0].size == (20, 30)
        assert results['boxes'][0].tolist() == [[2, 6, 10, 30]]

    def test_flip_mirrors_picture_and_boxes(self):
        array = np.zeros((4, 10, 3), np.uint8)
        array[1:3, 2:5] = 255
        results = build('RandomFlip', prob=1)(results_of(array, [[2, 1, 5, 3]]))
        assert results['boxes'][0].tolist() == [[5, 1, 8, 3]]
        assert np.array_equal(np.asarray(results['images'][0]), array[:, ::-1])
        results = build('RandomFlip', prob=0)(results_of(array, [[2, 1, 5, 3]]))
        assert np.array_equal(np.asarray(results['images'][0]), array)

    def test_crop_clips_and_drops_boxes(self, monkeypatch):
        """Region (10, 5)-(30, 15) of 40 x 20 to 40 x 40: x by 2, y by 4."""
        transform = build('RandomResizedCrop', size=40)
        monkeypatch.setattr(transform, 'draw_region', lambda w, h, rng: (10, 5, 30, 15))
        results = results_of(
            np.zeros((20, 40, 3), np.uint8),
            [[12, 6, 20, 10], [0, 0, 15, 20], [30, 5, 35, 15], [0, 16, 40, 20]],
        )
        transform(results)
        assert results['boxes'][0].tolist() == [[4, 4, 20, 20], [0, 0, 10, 40]]
        assert results['box_product_ids'][0] == ['b0', 'b1']
        assert results['images'][0].size == (40, 40)

    def test_crop_follows_its_picture(self):
        """In every region that is drawn, the white product stays inside its box."""
        array = np.zeros((60, 80, 3), np.uint8)
        array[20:40, 30:60] = 255
        for seed in range(20):
            results = results_of(array, [[30, 20, 60, 40]], seed=seed)
            build('RandomResizedCrop', size=64, scale=(0.2, 1.0), interpolation='nearest')(results)
            build('RandomFlip', prob=0.5)(results)
            white = np.asarray(results['images'][0])[..., 0] > 127
            if not white.any():
                assert len(results['boxes'][0]) == 0
                continue
            ys, xs = np.nonzero(white)
            seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert np.abs(results['boxes'][0][0] - seen).max() <= 2.5

    def test_drawn_regions_obey_scale_and_ratio(self):
        transform = build('RandomResizedCrop', size=8, scale=(0.25, 0.5), ratio=(0.5, 2.0))
        rng = np.random.default_rng(1)
        regions = np.array([transform.draw_region(200, 100, rng) for _ in range(500)])
        width, height = regions[:, 2] - regions[:, 0], regions[:, 3] - regions[:, 1]
        assert regions.min() >= 0
        assert regions[:, 2].max() <= 200
        assert regions[:, 3].max() <= 100
        share = width * height / 20000
        assert 0.24 < share.min() < 0.26
        assert 0.48 < share.max() < 0.51
        assert 0.48 < (width / height).min()
        assert (width / height).max() < 2.05
        assert len(np.unique(regions[:, 0])) > 50

    def test_a_region_that_never_fits_is_central(self):
        """As in torchvision: 100 x 4, ratio at most 4/3: round(4 * 4 / 3) = 5 wide."""
        transform = build('RandomResizedCrop', size=8, scale=(1.0, 1.0))
        assert transform.draw_region(100, 4, np.random.default_rng(0)) == (47, 0, 52, 4)
        assert transform.draw_region(4, 100, np.random.default_rng(0)) == (0, 47, 4, 52)

    @pytest.mark.parametrize(
        'cfg',
        [
            dict(type='RandomResizedCrop', size=8, scale=(0.5, 0.1)),
            dict(type='RandomResizedCrop', size=8, ratio=(0.0, 1.0)),
            dict(type='Resize', size=8, interpolation='cubic'),
            dict(type='RandomFlip', prob=1.5),
            dict(type='ColorJitter', hue=0.7),
            dict(type='RandomGray', prob=-1),
        ],
    )
    def test_impossible_settings_fail_at_build(self, cfg):
        with pytest.raises(ValueError, match=cfg['type']):
            TRANSFORMS.build(cfg)

    def test_misspelt_key_fails_at_build(self):
        with pytest.raises(TypeError, match='sise'):
            build('Resize', sise=8)


class TestColor:
    def test_brightness_by_hand(self):
        """One strength only: all pixels are scaled by one factor within its bounds."""
        array = np.full((2, 2, 3), 100, np.uint8)
        seen = set()
        for seed in range(30):
            results = build('ColorJitter', brightness=0.3)(results_of(array, seed=seed))
            values = np.unique(np.asarray(results['images'][0]))
            assert len(values) == 1
            seen.add(int(values[0]))
        assert min(seen) >= 70
        assert max(seen) <= 130
        assert max(seen) - min(seen) > 40

    def test_hue_turns_red_to_green_and_keeps_grey(self):
        from eclip_mm.datasets.transforms.color import shift_hue

        image = Image.fromarray(np.array([[[255, 0, 0], [90, 90, 90]]], np.uint8))
        turned = np.asarray(shift_hue(image, 1 / 3)).astype(int)
        assert np.abs(turned[0, 0] - [0, 255, 0]).max() <= 6
        assert turned[0, 1].tolist() == [90, 90, 90]
        assert np.array_equal(np.asarray(shift_hue(image, 0)), np.asarray(image))

    def test_prob_and_gray(self):
        array = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        same = build('ColorJitter', brightness=0.5, prob=0)(results_of(array))
        assert np.array_equal(np.asarray(same['images'][0]), array)
        gray = np.asarray(build('RandomGray', prob=1)(results_of(array))['images'][0])
        assert (gray[..., 0] == gray[..., 1]).all()
        assert (gray[..., 0] == gray[..., 2]).all()
