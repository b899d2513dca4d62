import json
import os

import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters import split_catalogue
from helpers.catalogues import make_rows, plain_png, write_rows


def pictures_of(path):
    """(product_id, picture) of every picture, and the rows."""
    rows = list(read_catalogue(path, strict=True))
    found = []
    for row in rows:
        for image in row['images']:
            data = image.get('bytes')
            if data is None:
                with open(image['path'], 'rb') as file:
                    data = file.read()
            found.append((row['product_id'], data, image['source']))
    return found, rows


def split(rows, path, **options):
    report = split_catalogue(write_rows(rows, path), out_dir=path.parent / 'out', **options)
    return report, *(pictures_of(report.files[name]) for name in ('train', 'val'))


@pytest.mark.parametrize('suffix', ['.parquet', '.jsonl'])
@pytest.mark.parametrize('by', ['product', 'picture'])
def test_every_picture_is_in_one_file(tmp_path, suffix, by):
    rows = make_rows(20, ['merchant', 'comment', 'video'])
    report, (train, train_rows), (val, val_rows) = split(
        rows, tmp_path / f'shop{suffix}', val=0.2, by=by
    )
    assert report.files['val'] == tmp_path / 'out' / f'shop_val{suffix}'
    whole = {(r['product_id'], i['bytes'], i['source']) for r in rows for i in r['images']}
    assert set(train) | set(val) == whole and len(train) + len(val) == len(whole)
    assert report.num_pictures == dict(train=len(train), val=len(val))
    assert report.num_products == dict(train=len(train_rows), val=len(val_rows))
    by_id = {row['product_id']: row for row in rows}
    for row in [*train_rows, *val_rows]:
        assert (row['text'], row['category']) == tuple(
            by_id[row['product_id']][key] for key in ('text', 'category')
        )
    ids = [{row['product_id'] for row in part} for part in (train_rows, val_rows)]
    if by == 'product':
        assert not ids[0] & ids[1] and 1 <= len(ids[1]) <= 9
    else:
        assert ids[0] == ids[1] == set(by_id)
    assert (report.num_single, report.num_in_both) == (0, 0)


@pytest.mark.parametrize('by', ['product', 'picture'])
def test_the_choice_depends_on_neither_order_nor_file_nor_what_is_added(tmp_path, by):
    rows = make_rows(24, ['a', 'b', 'c'])
    options = dict(val=0.3, by=by)
    first = split(rows[:16], tmp_path / '1' / 'x.parquet', **options)[2][0]
    turned = [{**row, 'images': row['images'][::-1]} for row in rows[::-1]]
    later = split(turned, tmp_path / '2' / 'y.jsonl', **options)[2][0]
    assert first and set(first) == {item for item in later if int(item[0][1:]) < 16}
    other = split(rows[:16], tmp_path / '3' / 'x.parquet', seed=1, **options)[2][0]
    assert set(other) != set(first)


def test_shares_are_close_to_what_is_asked_for(tmp_path):
    rows = make_rows(1)
    many = [{**rows[0], 'product_id': str(i)} for i in range(400)]
    report = split_catalogue(write_rows(many, tmp_path / 'x.parquet'), val=0.25)
    assert abs(report.num_products['val'] - 100) < 35  # 4 standard deviations


def test_single_pictures_stay_in_training_and_copies_together(tmp_path):
    rows = make_rows(3, ['a'] * 4)
    rows[0]['images'] = rows[0]['images'][:1]
    rows[1]['images'] = rows[1]['images'][:1] * 3
    rows[2]['images'] += rows[2]['images']
    report, (train, _), (val, val_rows) = split(rows, tmp_path / 'x.jsonl', by='picture', val=0.01)
    assert report.num_single == 2 and '2 products have a single picture' in str(report)
    assert [row['product_id'] for row in val_rows] == ['p2']
    assert len(val) == 2 and len(set(val)) == 1, 'the picture and its copy'
    assert len(train) == 1 + 3 + 6 and not set(train) & set(val)
    keeps = split(rows[2:], tmp_path / 'most' / 'x.jsonl', by='picture', val=0.99)
    assert len(keeps[1][0]) == 2, 'one picture and its copy stay, however large val is'


def test_a_picture_of_products_of_both_files_is_counted(tmp_path):
    rows = make_rows(20)
    for row in rows:
        row['images'][1] = dict(bytes=plain_png(255), source='shelf')
    report = split(rows, tmp_path / 'x.parquet', val=0.5)[0]
    assert report.num_in_both == 1 and '1 pictures are in both files' in str(report)


def test_paths_stay_valid_and_boxes_stay(tmp_path):
    (tmp_path / 'photos').mkdir()
    lines = []
    for i in range(4):
        images = []
        for k in range(2):
            (tmp_path / 'photos' / f'{i}{k}.png').write_bytes(plain_png(10 * i + k))
            box = dict(bbox=[1, 2, 3, 4], product_id=f'p{i}')
            images.append(dict(path=f'photos/{i}{k}.png', source='a', boxes=[box]))
        lines.append(dict(product_id=f'p{i}', text='x', images=images))
    source = tmp_path / 'shop.jsonl'
    source.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    report = split_catalogue(source, by='picture', out_dir=tmp_path / 'a' / 'b')
    for file in report.files.values():
        for row in read_catalogue(file, strict=True):
            (image,) = row['images']
            assert os.path.samefile(image['path'], tmp_path / 'photos' / image['path'][-6:])
            assert image['boxes'] == [dict(bbox=[1, 2, 3, 4], product_id=row['product_id'])]
    assert not list((tmp_path / 'a').rglob('*.png')), 'pictures are not copied'


def test_folders_and_what_cannot_be_split(tmp_path):
    folder = tmp_path / 'parts'
    folder.mkdir()
    write_rows(make_rows(9), folder / '1.parquet')
    report = split_catalogue(folder)
    assert report.files['train'] == tmp_path / 'parts_train.parquet'
    before = {path: path.read_bytes() for path in report.files.values()}
    with pytest.raises(CatalogueError, match='parts_train.parquet exists and is not overwritten'):
        split_catalogue(folder, val=0.5)
    assert before == {path: path.read_bytes() for path in before}
    one = write_rows(
        [{**row, 'images': row['images'][:1]} for row in make_rows(1)], tmp_path / 'one.parquet'
    )
    for match, options in (
        ('one product cannot be divided', dict(source=one)),
        ("no product has two different .* by='product'", dict(source=one, by='picture')),
        ('val is 1.5', dict(source=one, val=1.5)),
        ("by is 'row'", dict(source=one, by='row')),
        ('is a pattern', dict(source=folder / '*.parquet')),
        ('no such catalogue', dict(source=tmp_path / 'gone.jsonl')),
    ):
        with pytest.raises(CatalogueError, match=match):
            split_catalogue(**options)
    left = {'one.parquet', 'parts', 'parts_train.parquet', 'parts_val.parquet'}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_program(program, tmp_path):
    rows = make_rows(10)
    rows[3]['text'] = 'Product number 3'
    source = write_rows(rows, tmp_path / 'shop.jsonl')
    with open(source, 'a') as file:
        file.write('{"product_id": "x"}\n')
    command = ('dataset_converters/split.py', source, '--val', 0.3, '--by', 'picture')
    text, _ = program(*command)
    lines = text.splitlines()
    assert lines[0].endswith('shop_train.jsonl: 10 products, 10 pictures (50.0% of the pictures)')
    assert lines[2].startswith('the source: 10 of 11 rows can be used, 1 skipped')
    _, error = program(*command, expected=1)
    (line,) = (line for line in error.splitlines() if line.startswith('error: '))
    assert 'not overwritten' in line
