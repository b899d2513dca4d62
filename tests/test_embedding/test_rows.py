"""Rows of a slice are read once, in little memory, and damage costs no others."""

import builtins
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from eclip_mm.datasets import CatalogueError
from eclip_mm.datasets.storage.schema import PARQUET_SCHEMA
from eclip_mm.embedding import SliceProducts, embed_catalogue, plan_slices, read_rows, rows
from helpers.catalogues import damage_pictures, make_rows, write_rows
from test_embedding.test_features import read_features, read_skipped


@pytest.fixture
def coarse(tmp_path) -> Path:
    """40 rows of 100 kB in one row group; not one is usable, so that only reading counts."""
    noise = np.random.default_rng(0)
    table = pa.table(
        dict(
            product_id=[f'p{i}' for i in range(40)],
            text=[' '] * 40,
            images=[[dict(bytes=noise.bytes(100_000), source='merchant')] for _ in range(40)],
        )
    )
    path = tmp_path / 'coarse.parquet'
    pq.write_table(table, path, use_dictionary=False, data_page_size=2**16, write_batch_size=1)
    return path


def blocks_of(path, block_rows=3, num_workers=0):
    (part,), _ = plan_slices(path, 1000)
    products = SliceProducts(part, pipeline=None, block_rows=block_rows)
    return DataLoader(products, batch_size=None, num_workers=num_workers)


def test_a_row_group_is_decoded_once_and_never_whole(coarse, monkeypatch):
    monkeypatch.setattr(rows, 'PIECE_ROWS', 4, raising=False)
    calls = []
    for method in (pq.ParquetFile.read_row_group, pq.ParquetFile.iter_batches):

        def counted(*args, _method=method, **kwargs):
            calls.append(_method.__name__)
            return _method(*args, **kwargs)

        monkeypatch.setattr(pq.ParquetFile, method.__name__, counted)
    before = pa.total_allocated_bytes()
    held = []
    for block in blocks_of(coarse):
        assert all("field 'text' is blank" in fault.reason for fault in block.faults)
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == 14 and len(calls) == 1
    assert max(held) < 1_500_000, 'of 4 MB'


def test_lines_are_read_once(tmp_path, monkeypatch):
    path = write_rows(make_rows(11), tmp_path / 'rows.jsonl')
    blocks = blocks_of(path, block_rows=2)
    opened = []

    def counted(file, *args, _open=builtins.open, **kwargs):
        opened.append(str(file))
        return _open(file, *args, **kwargs)

    monkeypatch.setattr(builtins, 'open', counted)
    monkeypatch.setattr(SliceProducts, 'prepare', lambda self, number, row: (None, [number], None))
    numbers = [number for block in blocks for number in block.faults]
    assert numbers == list(range(1, 12))
    assert opened.count(str(path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [1, 3, 9])
def test_blocks_of_workers_come_in_their_order(coarse, num_workers):
    blocks = list(blocks_of(coarse, 7, num_workers))
    assert [block.num_rows for block in blocks] == [7] * 5 + [5]
    assert [f.row for block in blocks for f in block.faults] == list(range(1, 41))


@pytest.mark.parametrize('suffix', ['.parquet', '.jsonl'])
def test_rows_of_any_spans(tmp_path, monkeypatch, suffix):
    """Across groups of 3 rows and pieces of 2, with gaps, and beyond the end."""
    monkeypatch.setattr(rows, 'PIECE_ROWS', 2)
    path = write_rows(make_rows(11), tmp_path / f'rows{suffix}')
    random = np.random.default_rng(0)
    for part in plan_slices(path, 6)[0]:
        for _ in range(20):
            cuts = sorted(random.choice(np.arange(part.start, 14), 4, replace=False).tolist())
            spans = list(pairwise(cuts))[::2] if random.random() < 0.5 else list(pairwise(cuts))
            found = [
                [(number, row['product_id']) for number, row in span]
                for span in read_rows(part, spans)
            ]
            assert found == [
                [(i + 1, f'p{i}') for i in range(start, min(stop, 11))] for start, stop in spans
            ]


@pytest.mark.parametrize('field', ['text', 'images'])
def test_words_that_are_not_utf8_cost_their_row(options, place, tmp_path, field):
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
    assert skipped['reason'].startswith(f'field {field!r} cannot be read')
    assert "'utf-8' codec can't decode byte 0xfc" in skipped['reason']


def test_a_flipped_byte_of_a_picture_is_found(options, tmp_path):
    path = write_rows(make_rows(11), tmp_path / 'flipped.parquet')
    damage_pictures(path, 1)
    summary = embed_catalogue(replace(options, catalogue=[str(path)]))
    assert (summary['written'], summary['skipped']) == (8, 3)
    skipped = read_skipped(options.out)
    assert [entry['row'] for entry in skipped] == [4, 5, 6]
    assert all('row group 1 of the file cannot be read' in entry['reason'] for entry in skipped)


def test_rows_before_the_damage_are_kept(options, tmp_path, monkeypatch):
    """The same ones, whatever the batches: the last row damaged, its piece and the one before"""
    monkeypatch.setattr(rows, 'PIECE_ROWS', 2)
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


def test_no_parquet_any_more(coarse):
    (part,), _ = plan_slices(coarse, 1000)
    coarse.write_bytes(coarse.read_bytes()[:1000])
    with pytest.raises(CatalogueError, match='coarse.parquet: cannot be read as Parquet'):
        next(read_rows(part, [(0, 3)]))


def test_rows_to_be_found_are_counted(place):
    slices, _ = plan_slices([place / 'good.parquet', place / 'faulty.jsonl'], 4)
    assert [part.num_rows for part in slices] == [4, 4, 3, 3, 3]  # a blank line is no row
    lines = (place / 'faulty.jsonl').read_text().splitlines()
    assert json.loads(lines[0])['product_id'] == 'a' and lines[2] == ''
