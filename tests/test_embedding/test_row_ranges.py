"""Every row of a catalogue is in one row range, and damage costs no other rows."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from eclip_mm.datasets import CatalogueError
from eclip_mm.datasets.storage import parquet_file
from eclip_mm.datasets.storage.schema import PARQUET_SCHEMA
from eclip_mm.embedding import ProductBlocks, embed_catalogue, plan_row_ranges
from helpers.catalogues import damage_pictures, make_rows, write_rows
from test_embedding.test_features import read_features, read_skipped


@pytest.fixture
def unusable(tmp_path) -> Path:
    """40 rows without text, so that only reading counts."""
    images = [[dict(bytes=b'picture', source='merchant')] for _ in range(40)]
    table = dict(product_id=[f'p{i}' for i in range(40)], text=[' '] * 40, images=images)
    pq.write_table(pa.table(table), tmp_path / 'unusable.parquet')
    return tmp_path / 'unusable.parquet'


def blocks_of(path, block_rows, num_workers):
    (rows,), _ = plan_row_ranges(path, 1000)
    products = ProductBlocks(rows, builder=None, block_rows=block_rows)
    return DataLoader(products, batch_size=None, num_workers=num_workers)


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [1, 3, 9])
def test_blocks_of_workers_come_in_their_order(unusable, num_workers):
    blocks = list(blocks_of(unusable, 7, num_workers))
    assert [block.num_rows for block in blocks] == [7] * 5 + [5]
    assert [f.row for block in blocks for f in block.faults] == list(range(1, 41))


@pytest.mark.parametrize('field', ['text', 'images'])
def test_text_that_is_not_utf8_costs_its_row(options, place, tmp_path, field):
    content = pq.read_table(place / 'good.parquet').to_pylist()
    changed = content[4] if field == 'text' else content[4]['images'][0]
    changed['text' if field == 'text' else 'source'] = 'M?tze'
    path = tmp_path / 'latin.parquet'
    table = pa.Table.from_pylist(content, PARQUET_SCHEMA)
    pq.write_table(table, path, compression='none', use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b'M?tze', b'M\xfctze'))  # Latin-1
    summary = embed_catalogue(replace(options, catalogue=[str(path)]))
    assert (summary['rows'], summary['written'], summary['skipped']) == (11, 10, 1)
    (skipped,) = read_skipped(options.out)
    assert skipped['row'] == 5
    assert skipped['reason'].startswith(f'field {field!r} is not UTF-8 (byte 0xfc at 1)')


def test_a_flipped_byte_of_a_picture_is_found(options, tmp_path):
    path = write_rows(make_rows(11), tmp_path / 'flipped.parquet')
    damage_pictures(path, 1)
    summary = embed_catalogue(replace(options, catalogue=[str(path)]))
    assert (summary['written'], summary['skipped']) == (8, 3)
    skipped = read_skipped(options.out)
    assert [entry['row'] for entry in skipped] == [4, 5, 6]
    assert all('row group 1 of the file cannot be read' in entry['reason'] for entry in skipped)


def test_rows_before_the_damage_are_kept(options, tmp_path, monkeypatch):
    """The same ones for any batch size: damage to the last row costs the last two batches read."""
    monkeypatch.setattr(parquet_file, 'BATCH_ROWS', 2)
    table = pq.read_table(write_rows(make_rows(11), tmp_path / 'small_groups.parquet'))
    path = tmp_path / 'damaged.parquet'
    one_a_page = dict(use_dictionary=False, data_page_size=1, write_batch_size=1)
    pq.write_table(table, path, **one_a_page, write_page_checksum=True)
    damage_pictures(path, 0)
    for batch_size in (1, 4):
        out = f'{options.out}{batch_size}'
        embed_catalogue(replace(options, catalogue=[str(path)], out=out, batch_size=batch_size))
        assert [row['row'] for row in read_features(out)] == list(range(1, 9))
        assert [entry['row'] for entry in read_skipped(out)] == [9, 10, 11]


def test_no_parquet_any_more(unusable):
    blocks = blocks_of(unusable, 3, 0)
    unusable.write_bytes(unusable.read_bytes()[:1000])
    with pytest.raises(CatalogueError, match='unusable.parquet: is not a readable Parquet file'):
        next(iter(blocks))


def test_row_ranges_cover_each_row_once(place):
    catalogue = [place / 'good.parquet', place / 'faulty.jsonl']
    ranges, files = plan_row_ranges(catalogue, 4)
    assert [(Path(r.path).name, r.start, r.stop, r.num_rows) for r in ranges] == [
        ('good.parquet', 0, 4, 4),
        ('good.parquet', 4, 8, 4),
        ('good.parquet', 8, 11, 3),
        ('faulty.jsonl', 0, 4, 3),  # a blank line is no row
        ('faulty.jsonl', 4, 7, 3),
    ]
    assert [rows.shard for rows in ranges] == [0, 1, 2, 3, 4]
    lines = (place / 'faulty.jsonl').read_bytes().splitlines(keepends=True)
    assert json.loads(lines[0])['product_id'] == 'a' and not lines[2].strip()
    assert ranges[4].offset == sum(map(len, lines[:4]))
    assert [file['rows'] for file in files] == [11, 7]
    with pytest.raises(CatalogueError, match='there is no such catalogue'):
        plan_row_ranges(place / 'nothing.parquet', 4)
