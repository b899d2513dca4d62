"""Fixes of a catalogue: what is left out, put first and merged, by every reader."""

import json

import pytest

from eclip_mm.datasets import (
    CatalogueError,
    ProductDataset,
    ProductImageDataset,
    ProductStream,
    catalogue,
    read_catalogue,
)
from eclip_mm.datasets.fixes import FixError, Fixes
from helpers.catalogues import make_rows, pipeline, write_rows

FIXES = [
    dict(product_id='p0', fix='exclude', reason='broken'),
    dict(product_id='p1', picture=0, fix='exclude'),
    dict(product_id='p2', picture=2, fix='main'),
    dict(product_id='p3', fix='merge', into='p2'),
]


def rows():
    """Four products of three pictures; one box names the product that is merged."""
    made = make_rows(5, sources=('merchant', 'comment', 'video'))
    made[4]['images'][0]['boxes'] = [dict(bbox=[0, 0, 4, 4], product_id='p3')]
    return made


def write(path, fixes):
    path.write_text(''.join(json.dumps(fix) + '\n' for fix in fixes), encoding='utf-8')
    return path


@pytest.mark.parametrize('name', ['a.parquet', 'a.jsonl'])
def test_readers_of_both_carriers_apply_them(name, tmp_path):
    path = write_rows(rows(), tmp_path / name)
    fixes = write(tmp_path / 'fixes.jsonl', FIXES)
    opened = read_catalogue(path, fixes=fixes)
    assert opened.product_ids == ['p1', 'p2', 'p3', 'p4']
    assert opened.report.num_fixed == 1
    assert '1 are left out by fixes' in str(opened.report)
    sources = [[image['source'] for image in row['images']] for row in opened]
    merchant, comment, video = 'merchant', 'comment', 'video'
    assert sources == [
        [comment, video],
        [video, merchant, comment],
        [merchant, comment, video],
        [merchant, comment, video],
    ]
    assert [opened.image_sources(i) for i in range(4)] == sources

    pictures = ProductImageDataset(path, pipeline(False), fixes=fixes)
    samples = [pictures[i]['data_samples'] for i in range(len(pictures))]
    # the pictures of p3 keep their own names, and count as pictures of p2
    found = [(s.product_id, *s.image_ids) for s in samples]
    assert found == [
        ('p1', 'p1#1'),
        ('p1', 'p1#2'),
        ('p2', 'p2#2'),
        ('p2', 'p2#0'),
        ('p2', 'p2#1'),
        ('p2', 'p3#0'),
        ('p2', 'p3#1'),
        ('p2', 'p3#2'),
        ('p4', 'p4#0'),
        ('p4', 'p4#1'),
        ('p4', 'p4#2'),
    ]
    assert samples[8].object_product_ids == ('p2',)
    train = ProductDataset(path, pipeline(True), fixes=fixes)
    ids = [train[i]['data_samples'].product_id for i in range(len(train))]
    assert ids == ['p1', 'p2', 'p2', 'p4']


def test_a_stream_applies_them(tmp_path):
    path = write_rows(rows(), tmp_path / 'a.parquet')
    options = dict(batch_size=5, num_virtual_workers=1)
    stream = ProductStream(
        path, pipeline(True), fixes=write(tmp_path / 'f.jsonl', FIXES), **options
    )
    samples = [sample['data_samples'] for sample in stream]
    # p0 is replaced by another product
    assert {s.product_id for s in samples} == {'p1', 'p2', 'p4'}
    assert not {'p0#0', 'p0#1', 'p0#2', 'p1#0'} & {i for s in samples for i in s.image_ids}
    assert any('p3#' in i for s in samples for i in s.image_ids if s.product_id == 'p2')
    other = ProductStream(path, pipeline(True), **options)
    assert stream.layout != other.layout


def test_no_fixes_change_nothing(tmp_path):
    path = write_rows(rows(), tmp_path / 'a.parquet')
    empty = write(tmp_path / 'f.jsonl', [])
    assert list(read_catalogue(path, fixes=empty)) == list(read_catalogue(path))


def test_ids_may_hold_what_python_calls_the_end_of_a_line(tmp_path):
    line = '{"product_id": "a\u2028b\u0085c", "fix": "exclude"}\r\n'
    path = tmp_path / 'f.jsonl'
    path.write_bytes(line.encode() + b'\n')
    assert Fixes(path).excluded == {'a\u2028b\u0085c'}


def test_chains_of_merges_end_at_the_last(tmp_path):
    merges = [dict(product_id=a, fix='merge', into=b) for a, b in ('ab', 'bc', 'dc')]
    fixes = Fixes(write(tmp_path / 'f.jsonl', merges))
    assert [fixes.product(k) for k in 'abcde'] == ['c', 'c', 'c', 'c', 'e']
    write(tmp_path / 'f.jsonl', [*merges, dict(product_id='c', fix='merge', into='a')])
    with pytest.raises(FixError, match='go round in a circle'):
        Fixes(tmp_path / 'f.jsonl')


@pytest.mark.parametrize(
    'line, said',
    [
        ('{', 'line 1 is not JSON'),
        ('["a"]', 'line 1: write an object with product_id'),
        ('{"product_id": 3, "fix": "exclude"}', 'product_id, a string'),
        ('{"product_id": "a", "fix": "drop"}', "fix is 'drop', and not one of exclude, main"),
        ('{"product_id": "a", "fix": "main"}', 'picture is None, and not a place'),
        ('{"product_id": "a", "fix": "exclude", "picture": -1}', 'picture is -1'),
        ('{"product_id": "a", "fix": "exclude", "picture": true}', 'picture is True'),
        ('{"product_id": "a", "fix": "merge", "into": "a"}', "into is 'a', and not the id"),
        (
            '{"product_id": "a", "fix": "merge", "into": "b"}\n'
            '{"product_id": "a", "fix": "merge", "into": "c"}',
            "line 2: 'a' is merged into 'b' as well",
        ),
        (
            '{"product_id": "a", "fix": "main", "picture": 1}\n'
            '{"product_id": "a", "fix": "main", "picture": 2}',
            "line 2: 'a' has another main picture, 1",
        ),
    ],
)
def test_a_bad_line_is_named(line, said, tmp_path):
    (tmp_path / 'f.jsonl').write_text(line)
    with pytest.raises(FixError, match=said) as error:
        Fixes(tmp_path / 'f.jsonl')
    assert 'f.jsonl' in str(error.value)


def test_products_that_are_not_there_are_named_and_nothing_else_is_lost(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(catalogue, 'print_log', lambda text, **options: said.append(text))
    path = write_rows(rows(), tmp_path / 'a.jsonl')
    fixes = write(tmp_path / 'f.jsonl', [*FIXES, dict(product_id='x9', fix='exclude')])
    assert len(read_catalogue(path, fixes=fixes)) == 4
    assert said == [f"{fixes}: 1 of its products are not in the catalogue: 'x9'"]
    with pytest.raises(FixError, match='cannot be read'):
        read_catalogue(path, fixes=tmp_path / 'none.jsonl')
    everything = [dict(product_id=f'p{k}', fix='exclude') for k in range(5)]
    with pytest.raises(CatalogueError, match='5 are left out by fixes'):
        read_catalogue(path, fixes=write(tmp_path / 'f.jsonl', everything))


def test_an_open_catalogue_has_its_own(tmp_path):
    path = write_rows(rows(), tmp_path / 'a.jsonl')
    fixes = write(tmp_path / 'f.jsonl', FIXES)
    with pytest.raises(ValueError, match="give 'fixes' to read_catalogue"):
        ProductDataset(read_catalogue(path), pipeline(True), fixes=fixes)
    opened = read_catalogue(path, fixes=fixes)
    assert ProductDataset(opened, pipeline(True))[2]['data_samples'].product_id == 'p2'
