"""JSON that is no JSON Lines in UTF-8, values that files cannot hold, and paths that miss."""

import gzip
import json
import os
import unicodedata

import numpy as np
import pytest

from eclip_mm.datasets import CatalogueError, ParquetCatalogueWriter, read_catalogue, write_jsonl
from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.storage.stored_files import StoredFile
from helpers.catalogues import plain_png

ROWS = [
    dict(product_id=f'N{i}', text=f'Rødt krus {i}', images=[dict(path='a.png', source='x')])
    for i in range(3)
]
LINES = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in ROWS)
PRETTY = '\n'.join(json.dumps(row, indent=1, ensure_ascii=False) for row in ROWS)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'a.png').write_bytes(plain_png(1))
    return tmp_path


def store(folder, content, name='c.jsonl'):
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('c.jsonl', LINES.encode('utf-8-sig').replace(b'\n', b'\r\n')),
        ('c.jsonl', gzip.compress(LINES.encode())),
        ('c.jsonl.gz', gzip.compress(LINES.encode('utf-8-sig'))),
        ('c.json.gz', gzip.compress(LINES[:200].encode()) + gzip.compress(LINES[200:].encode())),
        ('c.json', LINES.rstrip().encode()),
    ],
)
def test_what_is_read(folder, name, content):
    path = store(folder, content, name)
    catalogue = read_catalogue(path, strict=True)
    assert [catalogue[i]['text'] for i in (2, 0, 1)] == [ROWS[i]['text'] for i in (2, 0, 1)]
    opened = open_file(StoredFile(path))
    assert opened.divide(2)[0] == 3
    (offset, _) = opened.divide(2)[1][1]
    ((third,),) = opened.read_spans([(2, 5)], 2, offset)
    assert (third[0], third[1]['text']) == (3, ROWS[2]['text'])


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (LINES.encode('utf-16'), 'text in UTF-16; convert it: iconv -f UTF-16 -t UTF-8'),
        (LINES.encode('utf-16-le'), 'text in UTF-16; .*UTF-16LE'),
        (LINES.encode('utf-16-be'), 'text in UTF-16; .*UTF-16BE'),
        (LINES.encode('utf-32'), 'text in UTF-32'),
        (json.dumps(ROWS).encode(), "one JSON array; write one object a line: jq -c '.\\[\\]'"),
        (json.dumps(ROWS, indent=1).encode(), 'one JSON array'),
        (f'[{LINES.rstrip()}]'.replace('\n', ',\n').encode(), 'one JSON array'),
        (PRETTY.encode(), 'pretty-printed JSON.*jq -c .'),
        (PRETTY.encode('latin-1'), 'pretty-printed JSON'),
        (b'<!DOCTYPE html><p>502', 'HTML, perhaps an error page'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
        (b'PAR1....', 'Parquet; name it .parquet'),
        (bytes(100), '100 bytes of zeros'),
        (gzip.compress(LINES.encode() * 50)[:-20], 'the gzip file is damaged'),
        (gzip.compress(json.dumps(ROWS).encode()), 'one JSON array'),
        (b' \n\n', 'the catalogue is empty; it has no row'),
        (b'', 'the catalogue is empty; it has no row'),
        (LINES.encode('latin-1'), r'row 1: the line is not UTF-8 .*WINDOWS-1252.*\(3 rows like'),
    ],
)
def test_what_is_named_once(folder, content, words):
    path = store(folder, content)
    with pytest.raises(CatalogueError, match=words) as error:
        read_catalogue(path)
    assert str(error.value).count('c.jsonl, row') <= 1
    if b'\xf8' not in content and content.strip():  # rows of Latin-1 are named one by one there
        with pytest.raises(CatalogueError, match=words):
            open_file(StoredFile(path)).divide(2)


def test_what_counts_as_missing(folder):
    image = dict(path='a.png', bytes=None, source=' ', boxes=float('nan'))
    rows = [
        dict(ROWS[0], category=float('nan')),
        dict(ROWS[1], category='', images=[image]),
        dict(product_id='N2', text='t', image=dict(path='a.png')),
    ]
    path = store(folder, '\n'.join(map(json.dumps, rows)).encode())
    catalogue = read_catalogue(path, strict=True)
    assert list(catalogue.categories()) == [None] * 3
    picture = dict(path=str(folder / 'a.png'), source='unknown')
    assert [row['images'] for row in catalogue][1:] == [[picture]] * 2


def test_ids_as_numbers_are_counted(folder):
    rows = [dict(row, product_id=7 + i) for i, row in enumerate(ROWS)]
    path = store(folder, '\n'.join(map(json.dumps, [*rows, ROWS[0]])).encode())
    report = read_catalogue(path).report
    assert (report.num_skipped, len(report.problems)) == (3, 1)
    assert "row 1: field 'product_id' is 7 (int); write ids as strings" in str(report)
    assert '007 becomes 7' in str(report) and str(report).endswith('(3 rows like this one)')


def test_nesting_costs_its_row(folder):
    deep = b'{"product_id": "d", "text": "t", "images": ' + b'[' * 100_000 + b']' * 100_000 + b'}'
    less = b'{"product_id": "e", "text": "t", "images": ' + b'[' * 300 + b']' * 300 + b'}'
    report = read_catalogue(store(folder, deep + b'\n' + less + b'\n' + LINES.encode())).report
    assert report.num_used == 3
    assert 'row 1: the line is nested too deeply' in report.problems[0]
    assert "row 2: field 'images[0]' is [[[[[[[..." in report.problems[1]


@pytest.mark.parametrize('suffix', ['.jsonl', '.parquet'])
def test_halves_of_emoji(folder, suffix):
    """Kept with U+FFFD in texts; elsewhere the row is named."""
    good = dict(ROWS[0], text='best ever \ud83d', category='\ude00', images=[dict(bytes=b'x')])
    pair = dict(good, product_id='pair', text='\ud83d\ude00')
    write = {'.jsonl': write_jsonl, '.parquet': write_parquet}[suffix]
    write([good, pair], folder / f'c{suffix}')
    read = list(read_catalogue(folder / f'c{suffix}', strict=True))
    assert [row['text'] for row in read] == ['best ever \ufffd', '😀']
    assert read[0]['category'] == '\ufffd'
    with pytest.raises(CatalogueError, match="row 1: field 'product_id' is 'a.ud83d'.*half a"):
        write([dict(good, product_id='a\ud83d')], folder / f'd{suffix}')


def write_parquet(rows, path):
    with ParquetCatalogueWriter(path) as writer:
        for row in rows:
            writer.write(row)


def test_numbers_of_numpy_can_be_written(folder):
    box = dict(bbox=list(np.float32([0, 1, 2, 3])), product_id='N0')
    row = dict(ROWS[0], category=np.nan, images=[dict(bytes=b'x', boxes=(box,))])
    write_jsonl([row], folder / 'c.jsonl')
    (image,) = read_catalogue(folder / 'c.jsonl', strict=True)[0]['images']
    assert image['boxes'] == [dict(bbox=[0, 1, 2, 3], product_id='N0')]


class TestPaths:
    @pytest.mark.parametrize(
        ('path', 'hint'),
        [
            (r'pics\Red Mug.jpg', "it has backslashes: 'pics/Red Mug.jpg' was probably meant"),
            ('pics/Red%20Mug.jpg', "it is percent-encoded: 'pics/Red Mug.jpg' was"),
            ('Pics/red mug.JPG', "upper and lower case: 'pics/Red Mug.jpg' was"),
            ('pics/Red Mug.jpeg', "it has another suffix: 'pics/Red Mug.jpg' was"),
            (' pics/Red Mug.jpg ', "it has white space around it: 'pics/Red Mug.jpg' was"),
            ('/pics/Red Mug.jpg', "it begins with a slash: 'pics/Red Mug.jpg' was"),
            ('pics/Red Mug.jpg?v=12', "it has the query of an address: 'pics/Red Mug.jpg' was"),
            ('pics/A&amp;B.jpg', "it has HTML entities: 'pics/A&B.jpg' was"),
            (
                r'pics\red%20mug.jpg',
                'it has backslashes, it is percent-encoded, it differs',
            ),
            ('pics/' + unicodedata.normalize('NFD', 'Krüge.jpg'), 'another Unicode form (NFC or'),
            ('https://cdn.shop/a.jpg', 'it is an address: download the picture'),
            ('//cdn.shop/a.jpg', 'it is an address: download the picture'),
            ('s3://bucket/a.jpg', 'it is an address: download the picture'),
            ('data:image/png;base64,AAAA', 'it is an address: download'),
            ('file:///shop/a%20b.jpg', "it is an address: write the path '/shop/a b.jpg'"),
            ('elsewhere/b.jpg', 'it is there from the working directory'),
            ('pics/nothing.jpg', 'paths are relative to the catalogue file'),
            ('x' * 400, 'paths are relative to the catalogue file'),
        ],
    )
    def test_hints(self, folder, monkeypatch, path, hint):
        monkeypatch.chdir(folder)
        for name in ('Red Mug.jpg', 'A&B.jpg', unicodedata.normalize('NFC', 'Krüge.jpg')):
            (folder / 'shop' / 'pics').mkdir(parents=True, exist_ok=True)
            (folder / 'shop' / 'pics' / name).write_bytes(plain_png(1))
        (folder / 'elsewhere').mkdir()
        (folder / 'elsewhere' / 'b.jpg').write_bytes(plain_png(1))
        row = dict(ROWS[0], images=[dict(path=path)])
        stored = store(folder / 'shop', json.dumps(row).encode())
        with pytest.raises(CatalogueError) as error:
            read_catalogue(stored)
        assert hint in str(error.value)

    def test_the_writer_gives_them_too(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        with pytest.raises(CatalogueError, match="'a.png' was probably meant"):
            write_parquet([dict(ROWS[0], images=[dict(path='A.PNG')])], folder / 'c.parquet')
        assert not os.path.exists(folder / 'c.parquet')


@pytest.mark.data
def test_real_files(cases_root):
    folder = cases_root / '11-encodings'
    for name in ('bom-crlf.jsonl', 'cat.jsonl.gz', 'named-gz.jsonl'):
        assert len(read_catalogue(folder / name, strict=True, check_files=False)) == 3
    rows = read_catalogue(cases_root / '09-lone-surrogate' / 'cat.jsonl', True, check_files=False)
    assert [row['text'][-1] for row in rows] == ['🔥', '\ufffd', 'g']
