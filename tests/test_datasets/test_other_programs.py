"""Parquet as pandas, Polars, DuckDB, Spark and `datasets` write it: the same rows in every reader.

The types are those of files that these programs wrote; none of them is needed here.
"""

import os
import resource
import shutil
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.datasets import CatalogueError, CatalogueWordPiece, ProductStream, read_catalogue
from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.stored_files import StoredFile, find_files
from helpers.catalogues import make_rows, pipeline, plain_png, write_rows

CORNERS = ('x1', 'y1', 'x2', 'y2')
STRING, BINARY, FLOAT = pa.string(), pa.binary(), pa.float32()
BOX = dict(bbox=[1.5, 2.0, 10.0, 12.0], product_id='p0')


def read_everywhere(path):
    """The rows of a file, which all readers agree on, without boxes; the map-style catalogue."""
    catalogue = read_catalogue(path, strict=True)
    rows = [catalogue.load(i, boxes=False) for i in range(len(catalogue))]
    files = find_files(path)
    spans = (open_file(StoredFile(f.url)).read_spans([(0, 100)]) for f in files)
    embedded = [row for of_file in spans for _, row in next(of_file)]
    assert [_without_boxes(row) for row in embedded] == rows
    stream = ProductStream(
        path, pipeline(False), strict=True, batch_size=1, num_virtual_workers=1, shuffle=False
    )
    assert [s['data_samples'].product_id for s in stream] == catalogue.product_ids
    assert list(catalogue.texts()) == [row['text'] for row in rows]
    assert list(catalogue.categories()) == [row['category'] for row in rows]
    return rows, catalogue


def _without_boxes(row):
    images = [{k: v for k, v in image.items() if k != 'boxes'} for image in row['images']]
    return {**row, 'images': images}


def _struct(string, binary, boxes=None):
    fields = [('bytes', binary), ('source', string)]
    return pa.struct(fields + ([('boxes', boxes)] if boxes is not None else []))


def _boxes(bbox):
    return pa.list_(pa.struct([('bbox', bbox), ('product_id', STRING)]))


def _dictionary(value=STRING):
    return pa.dictionary(pa.int32(), value)


IMAGES = pa.list_(_struct(STRING, BINARY))
COLUMNS = {
    'string_view': (pa.string_view(),) * 3 + (IMAGES,),  # inside structs: `test_real_files`
    'large': (pa.large_string(),) * 3
    + (pa.large_list(_struct(pa.large_string(), pa.large_binary())),),
    'dictionary': (_dictionary(), _dictionary(), _dictionary(pa.large_string()), IMAGES),
    'dictionary inside': (STRING,) * 3 + (pa.list_(_struct(_dictionary(), BINARY)),),
    'text not marked as such': (BINARY, pa.large_binary(), BINARY, IMAGES),
    'fixed size': (STRING,) * 3 + (pa.list_(_struct(STRING, BINARY), 2),),
    'struct of lists': (STRING,) * 3
    + (pa.struct([('bytes', pa.list_(BINARY)), ('source', pa.list_(STRING))]),),
    'decimal boxes': (STRING,) * 3
    + (pa.list_(_struct(STRING, BINARY, _boxes(pa.list_(pa.decimal128(4, 1))))),),
    'boxes of fixed size': (STRING,) * 3
    + (pa.list_(_struct(STRING, BINARY, _boxes(pa.list_(FLOAT, 4)))),),
    'struct boxes': (STRING,) * 3
    + (
        pa.list_(
            _struct(
                STRING, BINARY, _boxes(pa.struct([(c, FLOAT) for c in ('x1', 'y1', 'x2', 'y2')]))
            )
        ),
    ),
    'boxes as struct of lists': (STRING,) * 3
    + (
        pa.list_(
            _struct(
                STRING,
                BINARY,
                pa.struct([('bbox', pa.list_(pa.list_(FLOAT))), ('product_id', pa.list_(STRING))]),
            )
        ),
    ),
}


def _as_type(value, kind):
    """A value as the type wants it."""
    if pa.types.is_struct(kind) and isinstance(value, list):  # a struct of lists, or of corners
        if kind.get_field_index('x1') >= 0:
            return dict(zip(CORNERS, value, strict=True))
        return {f.name: [_as_type(v[f.name], f.type.value_type) for v in value] for f in kind}
    if pa.types.is_struct(kind):
        return {f.name: _as_type(value.get(f.name), f.type) for f in kind}
    if isinstance(value, list):
        return [_as_type(v, kind.value_type) for v in value]
    return Decimal(str(value)) if pa.types.is_decimal(kind) else value


def _array(values, kind):
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    if kind in (BINARY, pa.large_binary()):
        return pa.array([v and v.encode() for v in values], kind)
    return pa.array([_as_type(v, kind) for v in values], kind)


@pytest.mark.parametrize('name', COLUMNS)
@pytest.mark.parametrize('store_schema', [True, False])
def test_columns_of_any_type(tmp_path, name, store_schema):
    rows = make_rows(5)
    rows[1]['category'] = None
    for row in rows:
        for image in row['images']:
            image['boxes'] = [BOX] if 'boxes' in name else []
    size = 10 if 'view' in name else 3  # Arrow cannot write slices of views
    columns = zip(('product_id', 'text', 'category', 'images'), COLUMNS[name], strict=True)
    table = pa.table({c: _array([row[c] for row in rows], kind) for c, kind in columns})
    options = dict(row_group_size=size, store_schema=store_schema)
    pq.write_table(table, tmp_path / 'c.parquet', **options)
    read, catalogue = read_everywhere(tmp_path / 'c.parquet')
    assert read == [_without_boxes(row) for row in rows]
    if 'boxes' in name:
        assert [image['boxes'] for image in catalogue[4]['images']] == [[BOX], [BOX]]


def _foreign(rows, **columns):
    return pa.Table.from_pylist([{**row, **columns} for row in rows])


def test_pictures_as_datasets_writes_them(tmp_path):
    """Bytes and the name of the file they came from, no source; also a single picture."""
    for name in ('images', 'image'):
        rows = make_rows(3)
        for row in rows:
            picture = dict(bytes=row.pop('images')[0]['bytes'], path='a.png')
            row[name] = [picture] if name == 'images' else picture
        pq.write_table(_foreign(rows), tmp_path / f'{name}.parquet')
        read, catalogue = read_everywhere(tmp_path / f'{name}.parquet')
        assert [row['images'] for row in read] == [
            [dict(bytes=plain_png(10 * i), source='unknown')] for i in range(3)
        ]
        assert catalogue.source_names == ['unknown']


def test_what_pandas_leaves_behind(tmp_path):
    """An index, and a category of NaN; an id of another kind."""
    rows = make_rows(4)
    table = _foreign(rows, __index_level_0__=3, category=float('nan'))
    pq.write_table(table, tmp_path / 'c.parquet')
    read, _ = read_everywhere(tmp_path / 'c.parquet')
    assert [row['category'] for row in read] == [None] * 4
    ids = [uuid.UUID(int=i) for i in range(4)]
    if hasattr(pa, 'uuid'):
        column = pa.array([i.bytes for i in ids], pa.uuid())
        pq.write_table(_foreign(rows).set_column(0, 'product_id', column), tmp_path / 'c.parquet')
        assert read_everywhere(tmp_path / 'c.parquet')[1].product_ids == list(map(str, ids))


@pytest.mark.parametrize(
    ('column', 'words'),
    [
        (
            pa.array([7, 12]),
            "'product_id' is int64 in all 2 rows, the first is 7; .*007",
        ),
        (pa.array([7.0, 12.0]), "'product_id' is double in all 2 rows, the first is 7.0; .*007"),
        (pa.array([Decimal('7'), Decimal('12')]), 'decimal128.*the first is 7; .*007'),
        (pa.array([True, False]), "'product_id' is bool"),
    ],
)
def test_ids_as_numbers(tmp_path, column, words):
    table = _foreign(make_rows(2)).set_column(0, 'product_id', column)
    pq.write_table(table, tmp_path / 'c.parquet')
    for read in (read_catalogue, lambda path: len(ProductStream(path, [])), open_at):
        with pytest.raises(CatalogueError, match=words):
            read(tmp_path / 'c.parquet')


def open_at(path):
    return open_file(StoredFile(path))


@pytest.mark.parametrize(
    ('images', 'words'),
    [
        ([dict(path='a', source='x', caption='b')], "'images' has the unknown field 'caption'"),
        ([dict(bytes=[1, 2], source='x')], "field 'bytes' of column 'images' is list.*bytes of"),
        ([dict(path=3)], "field 'path' of column 'images' is int64; it must hold strings"),
        ([dict(source='x')], "'images' has the fields source; it needs 'path' or 'bytes'"),
        (dict(bytes=['a'], source='x'), "field 'bytes' of column 'images' is list"),
        (['a.jpg'], "'images' is list.*must be a list of structs"),
    ],
)
def test_columns_that_are_none_of_ours(tmp_path, images, words):
    pq.write_table(_foreign([dict(make_rows(1)[0], images=images)]), tmp_path / 'c.parquet')
    with pytest.raises(CatalogueError, match=words):
        read_catalogue(tmp_path / 'c.parquet')


def test_text_that_is_not_utf8_costs_its_row_in_every_reader(tmp_path):
    rows = make_rows(6)
    rows[2]['text'], rows[4]['images'][0]['source'] = 'M?tze', 'B?ro'
    pq.write_table(
        _foreign(rows), tmp_path / 'c.parquet', compression='none', use_dictionary=False
    )
    data = (tmp_path / 'c.parquet').read_bytes()
    for word in (b'M?tze', b'B?ro'):
        data = data.replace(word, word.replace(b'?', b'\xfc'))
    (tmp_path / 'c.parquet').write_bytes(data)
    catalogue = read_catalogue(tmp_path / 'c.parquet')
    assert catalogue.product_ids == ['p0', 'p1', 'p3', 'p5']
    assert list(catalogue.texts()) == [rows[i]['text'] for i in (0, 1, 3, 5)]
    assert [p.split(': ', 1)[1][:39] for p in catalogue.report.problems] == [
        "field 'text' is not UTF-8 (byte 0xfc at",
        "field 'images' is not UTF-8 (byte 0xfc ",
    ]
    (span,) = open_at(tmp_path / 'c.parquet').read_spans([(0, 6)])
    assert [number for number, row in span if isinstance(row, Exception)] == [3, 5]
    stream = ProductStream(
        tmp_path / 'c.parquet', pipeline(False), batch_size=1, num_virtual_workers=1, shuffle=False
    )
    ids = [s['data_samples'].product_id for s in stream]
    assert [ids[i] for i in (0, 1, 3, 5)] == catalogue.product_ids
    assert {ids[2], ids[4]} < set(catalogue.product_ids)
    assert stream.faults.counts()['rows'] == 2 and stream.faults.counts()['row groups'] == 0


class TestFolders:
    def test_clutter(self, tmp_path):
        rows = make_rows(6)
        write_rows(rows[:3], tmp_path / 'a.parquet')
        write_rows(rows[3:], tmp_path / 'b.parquet')
        pq.write_table(pa.table({'nothing': []}), tmp_path / 'empty.parquet')
        for name in ('._a.parquet', '.a.parquet', '_a.parquet', '_SUCCESS', '.DS_Store'):
            (tmp_path / name).write_bytes(b'\0\5\26\7')
        (tmp_path / '_temporary').mkdir()
        (tmp_path / '_temporary' / 'a.parquet').write_bytes(b'half')
        for path in (tmp_path, f'{tmp_path}/*.parquet', f'{tmp_path}/**/*.parquet'):
            assert read_everywhere(path)[1].product_ids == [f'p{i}' for i in range(6)]
        (asked_for,) = find_files(f'{tmp_path}/_a*')
        assert asked_for.path == f'{tmp_path}/_a.parquet'

    def test_partitions_give_the_category(self, tmp_path):
        rows = make_rows(6)
        for row in rows:
            del row['category']
        for i, name in enumerate(('mugs%20%26%20cups', '__HIVE_DEFAULT_PARTITION__')):
            (tmp_path / 'c' / f'category={name}').mkdir(parents=True)
            part = _foreign(rows[3 * i : 3 * i + 3])
            pq.write_table(part, tmp_path / 'c' / f'category={name}' / 'a.parquet')
        for path in (tmp_path / 'c', f'{tmp_path}/c/*/*.parquet'):
            read, _ = read_everywhere(path)
            categories = {row['product_id']: row['category'] for row in read}
            assert [categories[f'p{i}'] for i in range(6)] == ['mugs & cups'] * 3 + [None] * 3

    def test_other_folders_are_named(self, tmp_path):
        write_rows(make_rows(2), tmp_path / 'train' / 'a.parquet')
        with pytest.raises(CatalogueError, match=r'folders \(train\); name one, or all of them'):
            read_catalogue(tmp_path)

    def test_brackets_in_the_name_of_a_folder(self, tmp_path):
        folder = tmp_path / 'shop [2024] *new*'
        write_rows(make_rows(2), folder / 'a[1].parquet')
        paths = (folder, folder / 'a[1].parquet', folder / '*.parquet', folder / 'a[[]1].parquet')
        for path in paths:
            assert read_everywhere(str(path))[1].product_ids == ['p0', 'p1']

    @pytest.mark.parametrize('suffix', ['.parquet', '.jsonl'])
    def test_more_files_than_may_be_open(self, tmp_path, monkeypatch, suffix):
        monkeypatch.setattr(RowGroupReader, 'max_mapped', 4)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        (row,) = make_rows(1)
        for i in range(30):
            write_rows([{**row, 'product_id': str(i)}], tmp_path / f'{i:04d}{suffix}')
        already_open = len(os.listdir('/dev/fd'))
        resource.setrlimit(resource.RLIMIT_NOFILE, (already_open + 20, hard))
        try:
            catalogue = read_catalogue(f'{tmp_path}/*{suffix}', strict=True)
            assert [catalogue[i]['product_id'] for i in range(30)] == catalogue.product_ids
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_nothing_but_empty_files(self, tmp_path):
        pq.write_table(pa.table({'product_id': pa.array([], STRING)}), tmp_path / 'a.parquet')
        for read in (read_catalogue, lambda path: len(ProductStream(path, []))):
            with pytest.raises(CatalogueError, match='the catalogue is empty'):
                read(tmp_path)


def test_a_row_group_that_arrow_cannot_read_at_once(tmp_path, monkeypatch):
    """As it is beyond 2 GiB of pictures; the real size takes a minute and was tried by hand."""
    write_rows(make_rows(9), tmp_path / 'c.parquet')

    def refuse(*args, **kwargs):
        raise pa.ArrowNotImplementedError('Nested data conversions not implemented for chunked')

    monkeypatch.setattr(pq.ParquetFile, 'read_row_group', refuse)
    assert len(read_everywhere(tmp_path / 'c.parquet')[0]) == 9
    assert RowGroupReader(find_files(tmp_path / 'c.parquet')).read(2)['images'].num_chunks == 1


@pytest.mark.data
@pytest.mark.parametrize(
    ('folder', 'counts'),
    [
        ('18-polars-string-view', [8] * 8),
        ('19-hf-image-struct', [8] * 3),
        ('22-folder-clutter', [12, 6, 24]),
    ],
)
def test_real_files(cases_root, folder, counts):
    found = sorted((cases_root / folder).iterdir())
    assert [len(read_everywhere(str(path))[0]) for path in found] == counts


@pytest.mark.data
def test_a_vocabulary_of_string_views(cases_root, tmp_path):
    path = cases_root / '18-polars-string-view' / 'polars-views.parquet'
    copied = shutil.copy(path, tmp_path / 'c.parquet')  # the vocabulary is written beside it
    tokenizer = CatalogueWordPiece(copied, vocab_size=60)
    assert tokenizer('Norvik mug')
