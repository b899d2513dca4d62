import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import (
    convert_carrier,
    convert_coco,
    convert_grocery_store,
    shrink_picture,
)
from helpers.catalogues import encode, make_rows, write_rows


def opened(image):
    return Image.open(io.BytesIO(image['bytes']))


class TestShrink:
    def test_small_pictures_keep_their_bytes(self, tmp_path):
        data = encode(np.zeros((10, 20, 3), np.uint8))
        (tmp_path / 'a.png').write_bytes(data)
        boxes = [dict(bbox=[1, 2, 3, 4], product_id='7')]
        image = dict(path=str(tmp_path / 'a.png'), source='x', boxes=boxes)
        for size in (20, None):
            assert shrink_picture(image, size) == dict(bytes=data, source='x', boxes=boxes)

    def test_large_pictures_and_boxes_get_smaller(self):
        image = dict(
            bytes=encode(np.zeros((50, 100, 3), np.uint8)),
            source='x',
            boxes=[dict(bbox=[10, 20, 100, 50], product_id='7')],
        )
        small = shrink_picture(image, 20)
        assert opened(small).size == (20, 10)
        assert opened(small).format == 'JPEG'
        assert np.allclose(small['boxes'][0]['bbox'], [2, 4, 20, 10])

    def test_orientation_is_applied_once(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        small = shrink_picture(
            dict(bytes=encode(np.zeros((50, 100, 3), np.uint8), exif=exif), source='x'), 20
        )
        assert opened(small).size == (10, 20)
        assert opened(small).getexif().get(0x0112, 1) == 1

    def test_crop(self):
        array = np.zeros((50, 100, 3), np.uint8)
        array[10:30, 40:80] = 200
        crop = shrink_picture(dict(bytes=encode(array), source='x'), 20, crop=(40, 10, 80, 30))
        assert opened(crop).size == (20, 10)
        assert (np.abs(np.asarray(opened(crop)).astype(int) - 200) <= 2).all()


class TestCarrier:
    def test_both_ways_give_the_same_file(self, tmp_path):
        first = write_rows(make_rows(7), tmp_path / 'a.parquet')
        report = convert_carrier(first, tmp_path / 'b.jsonl', image_dir=tmp_path / 'pictures')
        assert (report.rows.num_rows, report.rows.num_used) == (7, 7)
        assert len(list((tmp_path / 'pictures').rglob('*.png'))) == 14
        convert_carrier(tmp_path / 'b.jsonl', tmp_path / 'c.parquet')
        for a, c in zip(
            read_catalogue(first), read_catalogue(tmp_path / 'c.parquet'), strict=True
        ):
            assert a == c

    @pytest.mark.parametrize(('group_bytes', 'groups'), [(1, 7), (2**20, 1)])
    def test_size_of_row_groups(self, tmp_path, group_bytes, groups):
        source = write_rows(make_rows(7), tmp_path / 'a.parquet')
        convert_carrier(source, tmp_path / 'b.parquet', group_bytes=group_bytes)
        assert pq.ParquetFile(tmp_path / 'b.parquet').num_row_groups == groups

    def test_skips_what_cannot_be_used(self, tmp_path):
        path = write_rows(make_rows(3), tmp_path / 'a.jsonl')
        with open(path, 'a') as file:
            file.write('{"product_id": "x"}\n')
        report = convert_carrier(path, tmp_path / 'b.parquet')
        assert report.rows.num_skipped == 1
        assert len(read_catalogue(tmp_path / 'b.parquet')) == 3
        with pytest.raises(CatalogueError, match='row 4'):
            convert_carrier(path, tmp_path / 'c.parquet', strict=True)
        assert not (tmp_path / 'c.parquet').exists()

    def test_impossible_targets(self, tmp_path):
        path = write_rows(make_rows(1), tmp_path / 'a.jsonl')
        for target, match in (('b.csv', "suffix '.csv'"), ('a.jsonl', 'the source itself')):
            with pytest.raises(CatalogueError, match=match):
                convert_carrier(path, tmp_path / target)
        with pytest.raises(CatalogueError, match='image_dir'):
            convert_carrier(path, tmp_path / 'b.parquet', image_dir=tmp_path)

    def test_program(self, program, tmp_path):
        path = write_rows(make_rows(2), tmp_path / 'a.jsonl')
        text, _ = program('dataset_converters/jsonl_parquet.py', path, tmp_path / 'b.parquet')
        assert '2 of 2 rows can be used' in text
        assert len(read_catalogue(tmp_path / 'b.parquet')) == 2


class TestGroceryStore:
    @pytest.fixture
    def root(self, tmp_path):
        """Two products; of a listed photo there is no file, and no test.txt."""
        root = tmp_path / 'GroceryStoreDataset' / 'dataset'
        for name in (
            'iconic/Red-Apple.jpg',
            'iconic/Oat-Milk.jpg',
            'train/a1.jpg',
            'train/a2.jpg',
            'train/m1.jpg',
            'val/m1.jpg',
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(encode(np.zeros((40, 30, 3), np.uint8), 'JPEG'))
        (root / 'iconic/Red-Apple.txt').write_text('A sweet\n apple. ')
        (root / 'classes.csv').write_text(
            'Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),'
            'Iconic Image Path (str),Product Description Path (str)\n'
            'Red-Apple,0,Apple,0,/iconic/Red-Apple.jpg,/iconic/Red-Apple.txt\n'
            'Oat-Milk,1,Plant-Milk,1,/iconic/Oat-Milk.jpg,/iconic/Oat-Milk.txt\n'
        )
        (root / 'train.txt').write_text(
            'train/a1.jpg, 0, 0\ntrain/m1.jpg, 1, 1\ntrain/gone.jpg, 1, 1\ntrain/a2.jpg, 0, 0\n'
        )
        (root / 'val.txt').write_text('val/m1.jpg, 1, 1\n')
        return tmp_path / 'GroceryStoreDataset'

    def test_splits(self, root, tmp_path):
        report = convert_grocery_store(root, tmp_path / 'out', max_size=20)
        assert report.num_products == dict(train=2, val=1)
        assert report.num_photos == dict(train=3, val=1)
        assert report.left_out == dict(train=[], val=['Red-Apple'])
        assert sorted(report.missing) == [
            'iconic/Oat-Milk.txt',
            'test.txt (test.parquet is not written)',
            'train/gone.jpg',
        ]
        assert 'Red-Apple' in str(report)
        assert 'train/gone.jpg' in str(report)
        apple, milk = read_catalogue(tmp_path / 'out' / 'train.parquet', strict=True)
        assert (apple['product_id'], apple['text'], apple['category']) == (
            'Red-Apple',
            'Red Apple. A sweet apple.',
            'Apple',
        )
        assert [i['source'] for i in apple['images']] == ['merchant', 'comment', 'comment']
        assert opened(apple['images'][0]).size == (15, 20)
        assert (milk['text'], milk['category']) == ('Oat Milk.', 'Plant Milk')
        (milk,) = read_catalogue(tmp_path / 'out' / 'val.parquet', strict=True)
        assert milk['product_id'] == 'Oat-Milk'
        assert [i['source'] for i in milk['images']] == ['comment']
        assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
            'train.parquet',
            'val.parquet',
        ]

    def test_not_the_data_set(self, root, tmp_path):
        with pytest.raises(CatalogueError, match='has a classes.csv'):
            convert_grocery_store(tmp_path / 'nowhere', tmp_path / 'out')
        (root / 'dataset' / 'val.txt').write_text('val/m1.jpg, 7, 1\n')
        with pytest.raises(CatalogueError, match='val.txt, row 1'):
            convert_grocery_store(root, tmp_path / 'out')
        assert not (tmp_path / 'out' / 'val.parquet').exists()
        (root / 'dataset' / 'val.txt').write_text('val/gone.jpg, 1, 1\n')
        with pytest.raises(CatalogueError, match='val.txt: no product has a photo'):
            convert_grocery_store(root, tmp_path / 'out')
        assert not (tmp_path / 'out' / 'val.parquet').exists()

    @pytest.mark.data
    def test_real(self, data_root, tmp_path):
        root = data_root / 'GroceryStoreDataset'
        report = convert_grocery_store(root, tmp_path, max_size=64)
        listed = {
            split: (root / 'dataset' / f'{split}.txt').read_text().splitlines()
            for split in ('train', 'val')
        }
        there = {
            split: sum((root / 'dataset' / line.split(',')[0]).is_file() for line in lines)
            for split, lines in listed.items()
        }
        assert report.num_products['train'] == 81
        assert report.num_photos['train'] == there['train']
        assert report.num_photos['val'] == there['val']
        train, val = (
            read_catalogue(tmp_path / f'{s}.parquet', strict=True) for s in ('train', 'val')
        )
        assert train.report.num_used == 81
        assert sum(train.num_images(i) for i in range(81)) == 81 + there['train']
        assert all(train.image_sources(i)[0] == 'merchant' for i in range(81))
        assert len(val) + len(report.left_out['val']) == 81
        assert set(val.product_ids) <= set(train.product_ids)
        assert val.source_names == ['comment']
        assert train[0]['text'].startswith('Golden Delicious. Golden Delicious has a white')
        assert train[0]['category'] == 'Apple'


class TestCoco:
    @pytest.fixture
    def coco(self, tmp_path):
        """Frame a: mug and bottle; frame b: two mugs, one crowd; frame c: nothing."""
        frames = dict(
            images=[
                dict(id=i, file_name=f'{name}.png', width=60, height=40)
                for i, name in enumerate('abc')
            ],
            annotations=[
                dict(id=0, image_id=0, category_id=5, bbox=[10, 0, 20, 30]),
                dict(id=1, image_id=0, category_id=6, bbox=[40, 10, 25, 20]),
                dict(id=2, image_id=1, category_id=5, bbox=[0, 0, 10, 40]),
                dict(id=3, image_id=1, category_id=5, bbox=[30, 0, 30, 40]),
                dict(id=4, image_id=1, category_id=6, bbox=[0, 0, 60, 40], iscrowd=1),
                dict(id=5, image_id=1, category_id=6, bbox=[3, 3, 0, 4]),
                dict(id=6, image_id=9, category_id=6, bbox=[3, 3, 4, 4]),
            ],
            categories=[
                dict(id=5, name='mug', supercategory='kitchen'),
                dict(id=6, name='bottle'),
                dict(id=7, name='never seen'),
            ],
        )
        for value, name in enumerate('abc'):
            array = np.full((40, 60, 3), 50 * value, np.uint8)
            (tmp_path / f'{name}.png').write_bytes(encode(array))
        (tmp_path / 'coco.json').write_text(json.dumps(frames))
        (tmp_path / 'products.json').write_text(
            json.dumps(
                [
                    dict(product_id='m', name='mug', ml=300),
                    dict(product_id='b', name='bottle', ml=500),
                    dict(product_id='n', name='never seen', ml=1),
                ]
            )
        )
        return tmp_path

    def test_products_without_a_word_are_counted_once(self, coco):
        content = json.loads((coco / 'coco.json').read_text())
        content['categories'][0]['name'] = '\u200b!'
        (coco / 'coco.json').write_text(json.dumps(content))
        report = convert_coco(coco / 'coco.json', coco, coco / 'out.jsonl')
        rows = read_catalogue(coco / 'out.jsonl', strict=True)
        assert report.num_products == len(rows) > 0

    @pytest.mark.parametrize('suffix', ['.parquet', '.jsonl'])
    def test_frames(self, coco, suffix):
        report = convert_coco(
            coco / 'coco.json',
            coco,
            coco / f'out{suffix}',
            products=coco / 'products.json',
            text='{name}, {ml} ml',
        )
        assert (report.num_products, report.num_pictures, report.num_boxes) == (2, 3, 6)
        assert report.left_out_products == ['n (never seen, 1 ml)']
        assert report.faults.faults == {
            'zero area': ['annotation 5 (b.png), bbox [3, 3, 0, 4], category 6'],
            'unknown image': ['annotation 6 (image 9), bbox [3, 3, 4, 4], category 6'],
            'crowd': ['annotation 4 (b.png), bbox [0.0, 0.0, 60.0, 40.0], category 6'],
        }
        mug, bottle = read_catalogue(coco / f'out{suffix}', strict=True)
        assert (mug['product_id'], mug['text'], mug['category']) == ('m', 'mug, 300 ml', 'kitchen')
        assert (bottle['product_id'], bottle['category']) == ('b', None)
        frame_a = [
            dict(bbox=[10, 0, 30, 30], product_id='m'),
            dict(bbox=[40, 10, 60, 30], product_id='b'),
        ]  # clipped to 60 wide
        assert [image['boxes'] for image in bottle['images']] == [frame_a]
        assert [image['boxes'] for image in mug['images']] == [
            frame_a,
            [
                dict(bbox=[0, 0, 10, 40], product_id='m'),
                dict(bbox=[30, 0, 60, 40], product_id='m'),
            ],
        ]
        assert {image['source'] for image in mug['images']} == {'video'}
        if suffix == '.jsonl':  # frames are not copied
            assert mug['images'][1]['path'] == str(coco / 'b.png')
            assert not (coco / 'out_images').exists()
        else:
            assert mug['images'][1]['bytes'] == (coco / 'b.png').read_bytes()

    def test_smaller_frames(self, coco):
        convert_coco(coco / 'coco.json', coco, coco / 'out.parquet', max_size=30)
        mug = read_catalogue(coco / 'out.parquet', strict=True)[0]
        assert (mug['product_id'], mug['text']) == ('5', 'mug')
        assert opened(mug['images'][0]).size == (30, 20)
        assert [box['bbox'] for box in mug['images'][0]['boxes']] == [
            [5, 0, 15, 15],
            [20, 5, 30, 15],
        ]

    def test_crops(self, coco):
        report = convert_coco(coco / 'coco.json', coco, coco / 'out.parquet', pictures='crops')
        assert (report.num_products, report.num_pictures, report.num_boxes) == (2, 3, 0)
        assert '1 boxes too small to be cut out left out' in str(report)
        mug, bottle = read_catalogue(coco / 'out.parquet', strict=True)
        assert [opened(image).size for image in mug['images']] == [(20, 30), (30, 40)]
        assert [opened(image).size for image in bottle['images']] == [(20, 20)]
        assert 'boxes' not in mug['images'][0]
        assert abs(np.asarray(opened(mug['images'][1])).mean() - 50) < 2
        assert {image['source'] for image in mug['images']} == {'crop'}

    def test_frames_and_crops(self, coco):
        convert_coco(coco / 'coco.json', coco, coco / 'out.parquet', pictures='both')
        mug, bottle = read_catalogue(coco / 'out.parquet', strict=True)
        shapes = [(image['source'], opened(image).size) for image in mug['images']]
        assert shapes == [  # the cut-out that is too small is missing
            ('video', (60, 40)),
            ('crop', (20, 30)),
            ('video', (60, 40)),
            ('crop', (30, 40)),
        ]
        assert [image['source'] for image in bottle['images']] == ['video', 'crop']

    def test_a_row_per_frame(self, coco):
        report = convert_coco(coco / 'coco.json', coco, coco / 'out.parquet', rows='frames')
        assert (report.num_products, report.num_pictures, report.num_boxes) == (2, 2, 4)
        a, b = read_catalogue(coco / 'out.parquet', strict=True)
        assert (a['product_id'], a['text'], a['category']) == ('a', 'mug, bottle', None)
        assert (b['product_id'], b['text']) == ('b', 'mug'), 'named once, boxed twice'
        assert [box['product_id'] for box in a['images'][0]['boxes']] == ['5', '6']
        assert [box['product_id'] for box in b['images'][0]['boxes']] == ['5', '5']
        report = convert_coco(
            coco / 'coco.json', coco, coco / 'out.parquet', rows='frames', min_products=2
        )
        assert read_catalogue(coco / 'out.parquet').product_ids == ['a']
        assert '1 frames with too few products' in str(report)

    def test_files_that_do_not_fit(self, coco):
        def fails(match, **changes):
            arguments = dict(
                annotations=coco / 'coco.json', image_root=coco, target=coco / 'out.parquet'
            )
            with pytest.raises(CatalogueError, match=match):
                convert_coco(**{**arguments, **changes})
            assert not (coco / 'out.parquet').exists()

        fails("suffix '.csv'", target=coco / 'out.csv')
        fails('cannot be read as JSON', annotations=coco / 'gone.json')
        fails('is a list; give a COCO detection file', annotations=coco / 'products.json')
        fails("uses the key 'grams'", text='{grams}')
        fails("pictures is 'crop'", pictures='crop')
        fails("rows is 'frame'", rows='frame')
        fails("set pictures='frames'", rows='frames', pictures='crops')

    @pytest.mark.data
    def test_real(self, data_root, tmp_path):
        root = data_root / 'snacks'
        names = {p['product_id']: p for p in json.loads((root / 'products.json').read_text())}
        for split in ('train', 'val'):
            coco = json.loads((root / 'annotations' / f'{split}.json').read_text())
            report = convert_coco(
                root / 'annotations' / f'{split}.json',
                root / 'images',
                tmp_path / f'{split}.jsonl',
                products=root / 'products.json',
                text='{name} {weight_g} g',
            )
            pairs = {(a['image_id'], a['category_id']) for a in coco['annotations']}
            assert (report.num_products, report.num_pictures) == (19, len(pairs))
            assert report.faults.faults == report.faults.notes == {}
            catalogue = read_catalogue(tmp_path / f'{split}.jsonl', strict=True)
            assert set(catalogue.product_ids) == set(names)
            own = sum(
                box['product_id'] == row['product_id']
                for row in catalogue
                for image in row['images']
                for box in image['boxes']
            )
            assert own == len(coco['annotations'])
            first = catalogue[0]
            entry = names[first['product_id']]
            assert first['text'] == f'{entry["name"]} {entry["weight_g"]} g'


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('jsonl_parquet.py', ['gone.jsonl', 'b.parquet']),
        ('grocery_store.py', ['gone', 'out']),
        ('coco.py', ['gone.json', '.', 'b.parquet']),
    ],
)
def test_programs_end_with_a_message(program, tmp_path, name, arguments):
    """A fault that the user can correct gives no traceback."""
    arguments = [a if a == '.' else tmp_path / a for a in arguments]
    _, error = program(f'dataset_converters/{name}', *arguments, expected=1)
    assert error.splitlines()[-1].startswith('error: ')
    assert 'gone' in error
