"""Streaming products: the same sequence for any number of workers, from any batch."""

import os
import pickle

import fsspec
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from eclip_mm.datasets import CatalogueError, ProductDataset, ProductStream, collate_products
from eclip_mm.datasets import product_stream as stream_module
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.registry import DATASETS
from helpers.catalogues import make_rows, pipeline, write_rows

BATCH = 6


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """100 products in two files of row groups of three."""
    rows = [dict(r, product_id=f'{k}-{r["product_id"]}') for k in range(5) for r in make_rows(20)]
    path = tmp_path_factory.mktemp('stream')
    write_rows(rows[:60], path / 'a.parquet')
    write_rows(rows[60:], path / 'b.parquet')
    return path


def make_stream(path, train=False, epoch=0, **options):
    settings = dict(seed=3, shuffle_rows=48, num_virtual_workers=4, batch_size=BATCH, **options)
    stream = ProductStream(str(path), pipeline(train), **settings)
    stream.set_epoch(epoch)
    return stream


def load(stream, num_workers=0, **options):
    if num_workers:
        options.setdefault('multiprocessing_context', 'fork')
    return DataLoader(
        stream,
        batch_size=stream.batch_size,
        num_workers=num_workers,
        collate_fn=collate_products,
        drop_last=True,
        **options,
    )


def ids(loader):
    return [[s.product_id for s in batch['data_samples']] for batch in loader]


@pytest.fixture(scope='module')
def expected(folder):
    return ids(load(make_stream(folder)))


@pytest.fixture
def reads(monkeypatch):
    """Row groups that are read, in this process."""
    read = []
    inner = RowGroupReader.read_rows

    def spy(self, group, start, stop):
        read.append(group)
        return inner(self, group, start, stop)

    monkeypatch.setattr(RowGroupReader, 'read_rows', spy)
    return read


class TestOrder:
    def test_an_epoch(self, folder, expected):
        loader = load(make_stream(folder))
        assert len(loader) == len(expected) == 16  # of 100 products, 4 fill no batch
        flat = sum(expected, [])
        assert len(set(flat)) == 96
        assert ids(load(make_stream(folder, epoch=1))) != expected
        assert sorted(flat) != flat

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ('num_workers', 'context'), [(1, 'fork'), (2, 'forkserver'), (4, 'fork')]
    )
    def test_workers_change_nothing(self, folder, num_workers, context):
        batches = list(load(make_stream(folder, train=True)))
        loader = load(
            make_stream(folder, train=True), num_workers, multiprocessing_context=context
        )
        for ours, theirs in zip(batches, loader, strict=True):
            assert torch.equal(ours['inputs']['images'], theirs['inputs']['images'])
            assert torch.equal(ours['inputs']['input_ids'], theirs['inputs']['input_ids'])

    @pytest.mark.slow
    def test_persistent_workers_get_the_epoch_and_the_place(self, folder):
        stream = make_stream(folder)
        loader = load(stream, 2, persistent_workers=True)
        for epoch, start in ((0, 0), (1, 0), (1, 5), (2, 0)):
            stream.set_epoch(epoch)
            stream.set_start(start * BATCH)
            whole = ids(load(make_stream(folder, epoch=epoch)))
            assert ids(loader) == whole[start:]

    @pytest.mark.slow
    def test_from_any_batch_with_any_number_of_workers(self, folder, expected):
        for start in range(len(expected) + 1):
            stream = make_stream(folder)
            stream.set_start(start * BATCH)
            assert ids(load(stream)) == expected[start:]
        for num_workers, start in ((1, 3), (2, 5), (4, 11)):
            stream = make_stream(folder)
            stream.set_start(start * BATCH)
            assert ids(load(stream, num_workers)) == expected[start:]

    def test_what_was_consumed_is_not_read_again(self, folder, expected, reads):
        """After 14 of 16 batches, only the current windows of virtual workers are read."""
        ids(load(make_stream(folder)))
        whole = len(reads)
        assert whole <= 34 + 3  # each group once, and three that two workers share
        reads.clear()
        stream = make_stream(folder)
        stream.set_start(14 * BATCH)
        ids(load(stream))
        # two virtual workers have a batch left, in their second window: at most 5 groups
        assert 0 < len(reads) <= 2 * 5

    @pytest.mark.parametrize('num_ranks', [2, 3])
    def test_shards_make_the_order_independent_of_ranks(self, folder, monkeypatch, num_ranks):
        one = ids(load(make_stream(folder, num_shards=6)))
        dealt = []
        for rank in range(num_ranks):
            monkeypatch.setattr(stream_module, 'get_dist_info', lambda r=rank: (r, num_ranks))
            stream = make_stream(folder, num_shards=6)
            stream.batch_size = BATCH // num_ranks
            dealt.append(ids(load(stream)))
        for number, batch in enumerate(one):  # row k of rank r is row k * ranks + r, as gathered
            parts = zip(*(rank[number] for rank in dealt), strict=True)
            assert [product for row in parts for product in row] == batch

    def test_ranks_share_no_product(self, folder, monkeypatch, reads):
        seen = []
        for rank in range(2):
            monkeypatch.setattr(stream_module, 'get_dist_info', lambda r=rank: (r, 2))
            seen.append(sum(ids(load(make_stream(folder))), []))
        assert [len(set(s)) for s in seen] == [48, 48]
        assert not set(seen[0]) & set(seen[1])
        assert len(reads) <= 34 + 7  # groups are divided over the ranks as well


class TestSamples:
    def test_a_sample_is_the_one_of_the_map_style_dataset(self, folder):
        plain = ProductDataset(folder, pipeline(True), seed=3)
        by_id = {plain.catalogue.product_ids[i]: i for i in range(100)}
        for batch in load(make_stream(folder, train=True, epoch=2)):
            for k, sample in enumerate(batch['data_samples']):
                other = plain[200 + by_id[sample.product_id]]
                assert torch.equal(batch['inputs']['images'][k], other['inputs']['images'])
                assert sample.image_ids == other['data_samples'].image_ids
                assert sample.text == other['data_samples'].text

    def test_sources(self, folder):
        for options in (dict(sources=['comment']), dict(exclude_sources=['merchant'])):
            (batch, *_) = load(make_stream(folder, **options))
            assert {s.sources for s in batch['data_samples']} == {('comment', 'comment')}

    def test_another_file_system(self, folder):
        memory = fsspec.filesystem('memory')
        for file in folder.glob('*.parquet'):
            memory.pipe(f'/bucket/{file.name}', file.read_bytes())
        stream = make_stream(folder)
        remote = ProductStream(
            'memory://bucket/*.parquet',
            pipeline(False),
            seed=3,
            shuffle_rows=48,
            num_virtual_workers=4,
            batch_size=BATCH,
        )
        assert ids(load(remote)) == ids(load(stream))

    def test_a_remote_file_is_read_group_by_group_and_nothing_is_kept(
        self, folder, expected, remote
    ):
        stream = make_stream(f'remote://{folder}/*.parquet')
        stream.full_init()
        remote.fetched.clear()
        assert ids(load(stream)) == expected
        assert remote.opened
        assert all(file.closed for file in remote.opened)  # and its cache gone
        # 34 groups, three of them twice, and two footers
        assert len(remote.fetched) <= 37 + 2
        size = sum(file.stat().st_size for file in folder.iterdir())
        assert sum(remote.fetched[2:]) < 1.2 * size

    def test_files_are_open_only_while_they_are_read(self, tmp_path):
        for i, row in enumerate(make_rows(24)):
            write_rows([row], tmp_path / f'{i:02d}.parquet')
        stream = make_stream(tmp_path)
        stream.full_init()
        before = len(os.listdir('/proc/self/fd'))
        for _ in stream:
            assert len(os.listdir('/proc/self/fd')) <= before + 2  # the listing itself; a reader

    def test_footers_that_are_kept_are_bounded(self, tmp_path, monkeypatch, expected, folder):
        monkeypatch.setattr(RowGroupReader, 'max_kept_groups', 10)
        stream = make_stream(folder)
        assert ids(load(stream)) == expected
        assert len(stream._groups._footers) == 1

    def test_pickles(self, folder, expected):
        stream = make_stream(folder)
        stream.full_init()
        assert ids(load(pickle.loads(pickle.dumps(stream)))) == expected


class TestMistakes:
    @pytest.mark.slow
    def test_workers_that_do_not_divide_the_virtual_ones(self, folder):
        with pytest.raises(ValueError, match='do not divide 4 virtual workers; use 1, 2, 4'):
            ids(load(make_stream(folder), 3))

    def test_options(self, folder):
        with pytest.raises(ValueError, match="'num_virtual_workers' is 0"):
            ProductStream(folder, [], num_virtual_workers=0)
        with pytest.raises(ValueError, match="'batch_size' is not set"):
            next(iter(ProductStream(str(folder), [])))
        with pytest.raises(ValueError, match="'num_shards' is 4, which does not divide"):
            next(iter(make_stream(folder, num_shards=4)))
        with pytest.raises(TypeError, match='num_image'):
            DATASETS.build(dict(type='ProductStream', catalogue='', pipeline=[], num_image=2))

    def test_row_groups_too_large_for_the_memory(self, folder, monkeypatch, log):
        make_stream(folder).full_init()
        assert 'GiB' not in log()
        monkeypatch.setattr(ProductStream, 'max_held', 2**10)
        make_stream(folder, num_shards=6).full_init()
        assert '24 virtual workers with 12 products each and a row group of up to' in log()

    def test_what_the_order_follows_from_is_in_the_layout(self, folder, tmp_path):
        stream = make_stream(folder)
        for name in ('a', 'b'):
            (tmp_path / f'{name}.parquet').write_bytes((folder / f'{name}.parquet').read_bytes())
        assert make_stream(tmp_path).layout == stream.layout  # another folder
        (tmp_path / 'a.parquet').rename(tmp_path / 'c.parquet')
        assert make_stream(tmp_path).layout != stream.layout
        for options in (
            dict(sources=['comment']),
            dict(first_picture='picture'),
            dict(num_shards=2),
        ):
            assert make_stream(folder, **options).layout != stream.layout

    def test_catalogues(self, tmp_path):
        with pytest.raises(CatalogueError, match='nowhere: there is no such catalogue'):
            len(ProductStream(tmp_path / 'nowhere', []))
        write_rows(make_rows(2), tmp_path / 'c.jsonl')
        with pytest.raises(CatalogueError, match='c.jsonl: a stream reads Parquet only; tools'):
            len(ProductStream(tmp_path / 'c.jsonl', []))
        (tmp_path / 'c.parquet').write_bytes(b'<html>')
        with pytest.raises(CatalogueError, match='c.parquet: is not a Parquet file, but HTML'):
            len(ProductStream(tmp_path / 'c.parquet', []))


def test_built_by_the_runner_from_a_config(folder, expected):
    init_default_scope('eclip_mm')
    loader = Runner.build_dataloader(
        dict(
            batch_size=BATCH,
            num_workers=0,
            drop_last=True,
            sampler=None,
            collate_fn=dict(type='collate_products'),
            dataset=dict(
                type='ProductStream',
                catalogue=str(folder),
                pipeline=pipeline(False),
                seed=3,
                shuffle_rows=48,
                num_virtual_workers=4,
                batch_size=BATCH,
            ),
        ),
        seed=0,
    )
    assert ids(loader) == expected
