"""Faults of a stream are counted and logged, and do not end a training."""

import errno
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from eclip_mm.datasets import CatalogueError, ImageDecodeError, ProductStream, collate_products
from eclip_mm.datasets import stream_faults as faults_module
from eclip_mm.datasets.storage import stored_files
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.schema import PARQUET_SCHEMA
from helpers.catalogues import (
    break_group,
    damage_pictures,
    encode,
    make_rows,
    pipeline,
    plain_png,
    write_rows,
)


def write_unchecked(rows, path, group_rows=3):
    """A catalogue as other programs write it: our own writer refuses a row without text."""
    for row in rows:
        for image in row['images']:
            for key in ('path', 'bytes', 'boxes'):
                image.setdefault(key)
    with pq.ParquetWriter(path, PARQUET_SCHEMA, compression='none') as writer:
        for start in range(0, len(rows), group_rows):
            part = rows[start : start + group_rows]
            writer.write_table(pa.Table.from_pylist(part, PARQUET_SCHEMA))
    return path


def stream(path, num_workers=0, start=0, **options):
    """(product_ids of an epoch, the stream)."""
    settings = dict(shuffle_rows=12, num_virtual_workers=2, batch_size=2) | options
    dataset = ProductStream(str(path), pipeline(False), **settings)
    dataset.set_epoch(0)
    dataset.set_start(start * 2)
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=num_workers,
        drop_last=True,
        collate_fn=collate_products,
        multiprocessing_context='fork' if num_workers else None,
    )
    return [s.product_id for batch in loader for s in batch['data_samples']], dataset


@pytest.fixture
def faulty(tmp_path):
    """24 products in groups of three. p0 to p2: a broken group; p5: no text; p9: both pictures
    broken, one truncated and one of 900 million pixels; p12: one of two truncated.
    """
    rng = np.random.default_rng(0)
    photo = encode(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), 'JPEG')
    bomb = plain_png(0)
    # width and height of the header say 30,000 x 30,000, with the checksum that goes with it
    header = b'IHDR' + (30_000).to_bytes(4, 'big') * 2 + bomb[24:29]
    bomb = bomb[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + bomb[33:]
    rows = make_rows(24)
    rows[5]['text'] = ' '
    rows[9]['images'][0]['bytes'] = photo[: len(photo) // 2]
    rows[9]['images'][1]['bytes'] = bomb
    rows[12]['images'][1]['bytes'] = photo[:-200]
    path = write_unchecked(rows, tmp_path / 'c.parquet')
    break_group(path, 0)
    return path


BAD = {'p0', 'p1', 'p2', 'p5', 'p9'}


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [0, 2])
def test_faults_are_counted_logged_and_replaced(faulty, log, num_workers):
    ids, dataset = stream(faulty, num_workers)
    assert len(ids) == 24
    assert not BAD & set(ids)
    assert {f'p{i}' for i in range(24)} - BAD == set(ids)  # nothing else is lost
    counts = dataset.faults.counts()
    # both of p9, once in each window that tries it, and the one of p12 if it is drawn
    assert 3 <= counts.pop('pictures') <= 4
    assert counts == {'row groups': 1, 'rows': 1, 'unwanted': 0, 'stand-ins': 5}
    assert 'row group 0, rows 1 to 3, cannot be read' in log()
    assert "row 6: field 'text' is blank" in log()
    assert "picture 'p9#0' of product 'p9'" in log()
    assert 'it has 30000 x 30000 pixels, more than' in log()
    dataset.on_epoch_end(0)
    assert 'epoch 0: 1 row groups, 1 rows' in log()
    assert 'in 5 samples another product stands in' in log()
    dataset.set_start(4)
    dataset.on_epoch_end(0)
    assert 'epoch 0, from batch 2 on: ' in log()


@pytest.mark.slow
def test_a_sequence_with_faults_can_be_resumed_anywhere(faulty):
    whole, _ = stream(faulty)
    for start in range(13):
        assert stream(faulty, start=start)[0] == whole[2 * start :]
    assert stream(faulty, 2, start=5)[0] == whole[10:]


def test_strict_raises_the_fault(faulty, tmp_path):
    with pytest.raises((CatalogueError, ImageDecodeError)):
        stream(faulty, strict=True)
    rows = make_rows(3)
    rows[1]['text'] = ''
    path = write_unchecked(rows, tmp_path / 'strict.parquet')
    with pytest.raises(CatalogueError, match="strict.parquet, row 2: field 'text' is empty"):
        stream(path, strict=True)


def test_damaged_picture_bytes_are_found_by_the_checksum_of_the_page(tmp_path):
    """A flipped byte in an uncompressed picture would decode to another picture."""
    path = write_rows(make_rows(9), tmp_path / 'c.parquet')
    damage_pictures(path, 1)
    ids, dataset = stream(path)
    assert dataset.faults.counts()['row groups'] == 1
    assert not {'p3', 'p4', 'p5'} & set(ids)


def spoil(row):
    for image in row['images']:
        image['bytes'] = b'no picture'


@pytest.mark.parametrize('bad', [[9], [6, 7, 8], list(range(9))])
def test_what_stands_in_may_come_from_beyond_the_window(tmp_path, bad):
    """There are windows of p0 to p8 and of p9; in one case each has no readable picture."""
    rows = make_rows(10)
    for i in bad:
        spoil(rows[i])
    path = write_unchecked(rows, tmp_path / 'c.parquet')
    options = dict(shuffle=False, shuffle_rows=9, num_virtual_workers=1)
    whole, dataset = stream(path, **options)
    assert len(whole) == 10
    for i, product_id in enumerate(whole):
        assert (product_id == f'p{i}') == (i not in bad)
    assert dataset.faults.counts()['stand-ins'] == len(bad)
    # each picture is tried once in a window, not once for each sample that needs a stand-in
    assert dataset.faults.counts()['pictures'] <= 2 * 2 * len(bad)
    for start in range(5):
        assert stream(path, start=start, **options)[0] == whole[2 * start :]


def test_what_stands_in_may_come_from_the_rest_of_the_row_group(tmp_path):
    rows = make_rows(6)
    rows[0]['text'] = rows[1]['text'] = ''
    path = write_unchecked(rows, tmp_path / 'c.parquet', group_rows=6)
    ids, _ = stream(path, shuffle=False, num_virtual_workers=3, shuffle_rows=3)
    assert ids[2:] == ['p2', 'p3', 'p4', 'p5']
    assert set(ids[:2]) <= set(ids[2:])


def test_nothing_can_be_used(tmp_path):
    rows = make_rows(6)
    for row in rows:
        row['text'] = ''
    path = write_unchecked(rows, tmp_path / 'c.parquet')
    with pytest.raises(CatalogueError, match=r'no row of .*c.parquet around row . .* can be used'):
        stream(path)
    rows = make_rows(6)
    for row in rows:
        spoil(row)
    path = write_rows(rows, tmp_path / 'd.parquet')
    with pytest.raises(ImageDecodeError, match=r'no product of .*d.parquet .* readable picture'):
        stream(path)


def test_sources_that_are_rare_or_misspelt(tmp_path, log):
    rows = make_rows(12)
    for row in rows[::2]:
        row['images'][1]['source'] = 'video'
    path = write_rows(rows, tmp_path / 'c.parquet')
    ids, dataset = stream(path, sources=['video'], strict=True)
    assert set(ids) == {f'p{i}' for i in range(0, 12, 2)}
    assert dataset.faults.counts()['unwanted'] == dataset.faults.counts()['stand-ins'] == 6
    assert 'misspelt' not in log()
    dataset.on_epoch_end(0)
    assert '6 products that are not asked for (by sources or where) could not be used' in log()
    stream(path, exclude_sources=['vidoe'])
    assert "has a picture of the source 'vidoe' (they have comment, merchant, video)" in log()
    with pytest.raises(CatalogueError, match=r"sources: \['vidoe'\]"):
        stream(path, sources=['vidoe'])


def test_a_file_that_is_out_of_reach_for_a_while(tmp_path, monkeypatch, log):
    path = write_rows(make_rows(12), tmp_path / 'c.parquet')
    expected, _ = stream(path)
    inner, opened = RowGroupReader._open, []

    def refuse(self, index, whole_groups=True):
        opened.append(index)
        if len(opened) in refused:
            raise OSError(errno.EMFILE, 'Too many open files')
        return inner(self, index, whole_groups)

    monkeypatch.setattr(RowGroupReader, '_open', refuse)
    monkeypatch.setattr(stored_files, 'FIRST_WAIT', 0.001)
    refused = range(2, 5)  # after the footer, at the start
    ids, dataset = stream(path)
    assert len(opened) == 1 + 3 + 4  # three failed tries, four row groups
    assert ids == expected
    assert not any(dataset.faults.counts().values())
    opened.clear()
    refused = [1]
    assert stream(path)[0] == expected
    opened.clear()
    refused = range(2, 6)  # all tries of one group
    assert stream(path)[1].faults.counts()['row groups'] == 1
    assert 'Too many open files); check that the file is there' in log()


def test_other_ranks_report_their_faults_and_the_first_one_the_sum(
    faulty, monkeypatch, capfd, log
):
    monkeypatch.setattr(faults_module, 'get_rank', lambda: 1)
    _, dataset = stream(faulty)
    assert 'row group 0' not in log()
    printed = capfd.readouterr().err
    assert 'rank 1: ProductStream' in printed
    assert 'row group 0, rows 1 to 3, cannot be read' in printed
    monkeypatch.setattr(faults_module, 'all_reduce', lambda counts: counts.mul_(2))
    dataset.on_epoch_end(0)
    assert 'epoch 0' not in capfd.readouterr().err + log()
    monkeypatch.setattr(faults_module, 'get_rank', lambda: 0)
    dataset.on_epoch_end(0)
    assert 'epoch 0: 2 row groups, 2 rows' in log()


def test_pictures_by_path_and_one_that_is_missing(tmp_path, log):
    rows = make_rows(6)
    for i, row in enumerate(rows):
        for j, image in enumerate(row['images']):
            name = f'{i}_{j}.png'
            (tmp_path / name).write_bytes(image.pop('bytes'))
            image['path'] = name
    (tmp_path / '4_0.png').unlink()
    ids, dataset = stream(write_unchecked(rows, tmp_path / 'c.parquet'))
    assert sorted(ids) == sorted(f'p{i}' for i in range(6))
    assert dataset.faults.counts()['pictures'] >= 1
    assert "picture 'p4#0' (4_0.png) cannot be read" in log()
