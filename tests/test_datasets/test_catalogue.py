import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.datasets import CatalogueError, ParquetCatalogueWriter, read_catalogue, write_jsonl
from helpers.catalogues import make_rows, plain_png, write_rows

SUFFIXES = ['.jsonl', '.parquet']


def _pictures(row):
    """Encoded bytes of the pictures, in the row or in files."""
    return [
        image['bytes'] if 'bytes' in image else open(image['path'], 'rb').read()
        for image in row['images']
    ]


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_round_trip(tmp_path, suffix):
    rows = make_rows(8)
    rows[2]['images'][1]['boxes'] = [dict(bbox=[1.0, 2.0, 3.5, 4.0], product_id='p5')]
    rows[3]['images'][0]['boxes'] = []
    rows[4]['category'] = None
    rows[5].update(product_id='ä/../b c', text='Tasse für Tee 茶')
    catalogue = read_catalogue(write_rows(rows, tmp_path / f'c{suffix}'), strict=True)
    assert len(catalogue) == 8
    assert not catalogue.report
    assert catalogue.product_ids == [row['product_id'] for row in rows]
    assert list(catalogue.texts()) == [row['text'] for row in rows]
    assert list(catalogue.categories()) == [row['category'] for row in rows]
    for read, row in zip(catalogue, rows, strict=True):
        assert {**read, 'images': 0} == {**row, 'images': 0}
        assert _pictures(read) == [image['bytes'] for image in row['images']]
        assert [image['source'] for image in read['images']] == ['merchant', 'comment']
        assert [i.get('boxes') for i in read['images']] == [i.get('boxes') for i in row['images']]
    assert list(tmp_path.glob('.*')) == []  # no temporary file is left


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_load_hands_out_chosen_pictures(tmp_path, suffix):
    rows = make_rows(4, sources=('a', 'b', 'c'))
    rows[1]['images'][2]['boxes'] = [dict(bbox=[0, 0, 2, 2], product_id='p1')]
    catalogue = read_catalogue(write_rows(rows, tmp_path / f'c{suffix}'))
    row = catalogue.load(1, [2, 0])
    assert [image['source'] for image in row['images']] == ['c', 'a']
    assert _pictures(row) == [plain_png(12), plain_png(10)]
    assert 'boxes' in row['images'][0]
    assert 'boxes' not in catalogue.load(1, [2], boxes=False)['images'][0]
    assert catalogue.num_images(1) == 3
    assert catalogue.image_sources(1) == ['a', 'b', 'c']
    assert catalogue[-1]['product_id'] == 'p3'
    with pytest.raises(IndexError):
        catalogue[4]


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_pickled_catalogue_reads_on(tmp_path, suffix):
    catalogue = read_catalogue(write_rows(make_rows(5), tmp_path / f'c{suffix}'))
    first = catalogue[3]
    copied = pickle.loads(pickle.dumps(catalogue))
    assert copied[3] == first
    assert copied.product_ids == catalogue.product_ids


def test_shards_and_lists_are_read_in_order(tmp_path):
    rows = make_rows(9)
    write_rows(rows[:4], tmp_path / 'shards' / '0.parquet')
    write_rows(rows[4:7], tmp_path / 'shards' / '1.parquet')
    write_rows(rows[7:], tmp_path / 'more.jsonl')
    catalogue = read_catalogue([tmp_path / 'shards', tmp_path / 'more.jsonl'], strict=True)
    assert catalogue.product_ids == [f'p{i}' for i in range(9)]
    assert list(catalogue.texts()) == [row['text'] for row in rows]
    assert _pictures(catalogue[5]) == [plain_png(50), plain_png(51)]


def test_bad_lines_are_skipped_and_named(tmp_path):
    path = tmp_path / 'c.jsonl'
    (tmp_path / 'a.png').write_bytes(plain_png(1))

    def line(**changes):
        image = dict(path='a.png', source='merchant')
        return json.dumps({**dict(product_id='1', text='t', images=[image]), **changes})

    missing = [dict(path='a.png', source='x'), dict(path='b.png', source='y')]
    path.write_text(
        '\n'.join(
            [
                '\ufeff' + line(),
                '',
                line(product_id='2', text=''),
                '{"product_id": ',
                line(),
                line(product_id='3', images=missing),
                line(product_id='4', images=missing[1:]),
                line(product_id='5', txet='t'),
            ]
        ),
        encoding='utf-8',
    )
    catalogue = read_catalogue(path)
    assert catalogue.product_ids == ['1', '3']
    assert catalogue[0]['images'] == [dict(path=str(tmp_path / 'a.png'), source='merchant')]
    assert catalogue[1]['images'] == [dict(path=str(tmp_path / 'a.png'), source='x')]
    report = catalogue.report
    assert (report.num_rows, report.num_used, report.num_skipped) == (7, 2, 5)
    assert report.num_missing_images == 1
    rows = [int(p.split(', row ')[1].split(':')[0]) for p in report.problems]
    assert rows == [3, 4, 5, 6, 7, 8]
    for words in (
        "'text' is empty",
        'is not JSON',
        'already used',
        'images[1].path',
        'images[0].path',
        "'txet'",
        '2 of 7 rows can be used',
        '5 skipped',
    ):
        assert words in str(report)
    with pytest.raises(CatalogueError, match="row 3: field 'text' is empty"):
        read_catalogue(path, strict=True)


def test_image_number_is_the_place_in_the_stored_row(tmp_path):
    (tmp_path / 'a.png').write_bytes(plain_png(1))
    images = [dict(path='gone.png', source='x'), dict(path='a.png', source='y')]
    (tmp_path / 'c.jsonl').write_text(json.dumps(dict(product_id='1', text='t', images=images)))
    catalogue = read_catalogue(tmp_path / 'c.jsonl')
    assert catalogue.num_images(0) == 1
    assert catalogue.image_number(0, 0) == 1
    assert catalogue[0]['images'][0]['source'] == 'y'
    assert read_catalogue(tmp_path / 'c.jsonl', check_files=False).num_images(0) == 2


def _foreign(rows, **columns):
    """A table as another program would write it: types inferred by Arrow."""
    return pa.Table.from_pylist([{**row, **columns} for row in rows])


def test_parquet_of_other_programs(tmp_path):
    """Other types, no category and no boxes; a picture beside the file."""
    kind = pa.large_list(
        pa.struct(
            [
                ('bytes', pa.large_binary()),
                ('path', pa.large_string()),
                ('source', pa.large_string()),
            ]
        )
    )
    (tmp_path / 'a.png').write_bytes(plain_png(1))
    table = pa.table(
        {
            'text': pa.array(['one', 'two'], pa.large_string()),
            'product_id': pa.array(['1', '2'], pa.large_string()),
            'images': pa.array(
                [[dict(path='a.png', source='x')], [dict(bytes=plain_png(2), source='y')]], kind
            ),
        }
    )
    pq.write_table(table, tmp_path / 'c.parquet')
    catalogue = read_catalogue(tmp_path / 'c.parquet', strict=True)
    assert catalogue[0] == dict(
        product_id='1',
        text='one',
        category=None,
        images=[dict(path=str(tmp_path / 'a.png'), source='x')],
    )
    assert _pictures(catalogue[1]) == [plain_png(2)]
    assert list(catalogue.categories()) == [None, None]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(text=None), "'text' is missing"),
        (dict(text=' '), "'text' is blank"),
        (dict(product_id=''), "'product_id' is empty"),
        (dict(product_id='p0'), 'already used'),
        (dict(text='\u200b'), "'text' is blank"),
        (dict(images=[]), "'images' is empty"),
        (dict(images=None), "'images' is missing"),
        (dict(images=[dict(bytes=None, source='x')]), 'neither'),
        (dict(images=[dict(path='gone.jpg', source='x')]), 'there is no file'),
        (
            dict(
                images=[
                    dict(
                        bytes=b'x',
                        source='x',
                        boxes=[dict(bbox=[3.0, 0.0, 1.0, 1.0], product_id='a')],
                    )
                ]
            ),
            'which is empty',
        ),
        (
            dict(
                images=[
                    dict(
                        bytes=b'x', source='x', boxes=[dict(bbox=[3.0, 0.0, 1.0], product_id='a')]
                    )
                ]
            ),
            'bbox',
        ),
        (
            dict(
                images=[
                    dict(
                        bytes=b'x',
                        source='x',
                        boxes=[dict(bbox=[0.0, 0.0, 1.0, 1.0], product_id=None)],
                    )
                ]
            ),
            'boxes[0].product_id',
        ),
    ],
)
def test_bad_parquet_rows_are_named_in_every_row_group_layout(tmp_path, change, words):
    """The check of a group finds every fault that the check of rows finds."""
    rows = make_rows(4)
    rows[2].update(change)
    for group_size in (1, 4):
        pq.write_table(_foreign(rows), tmp_path / 'c.parquet', row_group_size=group_size)
        catalogue = read_catalogue(tmp_path / 'c.parquet')
        assert catalogue.product_ids == ['p0', 'p1', 'p3']
        (problem,) = catalogue.report.problems
        assert f'{tmp_path / "c.parquet"}, row 3: ' in problem
        assert words in problem
        assert _pictures(catalogue[2]) == [plain_png(30), plain_png(31)]


def test_files_that_are_no_catalogue(tmp_path):
    def fails(path, match):
        with pytest.raises(CatalogueError, match=match):
            read_catalogue(path)

    fails(tmp_path / 'c.jsonl', 'there is no such catalogue')
    fails([], 'no catalogue was given')
    (tmp_path / 'folder').mkdir()
    fails(tmp_path / 'folder', 'holds no .parquet file')
    (tmp_path / 'c.csv').write_text('a,b')
    fails(tmp_path / 'c.csv', "suffix '.csv'")
    (tmp_path / 'c.parquet').write_bytes(b'not parquet')
    fails(tmp_path / 'c.parquet', 'not a readable Parquet file')
    (tmp_path / 'c.json').write_text('{"product_id": "1"}')
    fails(tmp_path / 'c.json', 'no row can be used')
    rows = make_rows(2)
    pq.write_table(_foreign(rows, price=1), tmp_path / 'p.parquet')
    fails(tmp_path / 'p.parquet', "unknown column 'price'")
    pq.write_table(_foreign(rows).drop_columns('text'), tmp_path / 'p.parquet')
    fails(tmp_path / 'p.parquet', "no column 'text'")
    pq.write_table(
        pa.table({'product_id': ['1'], 'text': ['t'], 'images': ['a']}), tmp_path / 'p.parquet'
    )
    fails(tmp_path / 'p.parquet', "column 'images' is string")
    pq.write_table(
        pa.table({'product_id': [1], 'text': ['t'], 'images': [[dict(bytes=b'x', source='s')]]}),
        tmp_path / 'p.parquet',
    )
    fails(
        tmp_path / 'p.parquet',
        r"'product_id' is int64 in all 1 rows, the first is 1; write ids as strings.*007",
    )


def test_parquet_takes_pictures_into_the_file(tmp_path):
    (tmp_path / 'a.png').write_bytes(plain_png(9))
    row = dict(product_id='1', text='t', images=[dict(path=str(tmp_path / 'a.png'), source='x')])
    write_rows([row], tmp_path / 'c.parquet')
    (tmp_path / 'a.png').unlink()
    assert _pictures(read_catalogue(tmp_path / 'c.parquet')[0]) == [plain_png(9)]
    with pytest.raises(CatalogueError, match=r"row 1: field 'images\[0\].path': cannot read"):
        write_rows([row], tmp_path / 'd.parquet')
    assert not (tmp_path / 'd.parquet').exists()


def test_json_lines_keep_paths_relative_to_the_file(tmp_path):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / 'a.png').write_bytes(plain_png(9))
    row = dict(
        product_id='1',
        text='t',
        images=[dict(path=str(tmp_path / 'pictures' / 'a.png'), source='x')],
    )
    write_jsonl([row], tmp_path / 'deep' / 'c.jsonl')
    stored = json.loads((tmp_path / 'deep' / 'c.jsonl').read_text())
    assert stored['images'][0]['path'] == '../pictures/a.png'
    assert _pictures(read_catalogue(tmp_path / 'deep' / 'c.jsonl')[0]) == [plain_png(9)]


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_an_interrupted_writer_leaves_the_old_file(tmp_path, suffix):
    path = write_rows(make_rows(2), tmp_path / f'c{suffix}')
    before = path.read_bytes()
    with pytest.raises(CatalogueError, match="row 5: field 'text' is empty"):
        write_rows([*make_rows(4), dict(make_rows(1)[0], text='')], path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob('.*')) == []


def test_row_groups_are_small(tmp_path):
    rows = make_rows(12)
    size = sum(len(image['bytes']) for image in rows[0]['images'])
    with ParquetCatalogueWriter(tmp_path / 'c.parquet', group_bytes=2 * size) as writer:
        for row in rows:
            writer.write(row)
    assert pq.ParquetFile(tmp_path / 'c.parquet').num_row_groups == 6
