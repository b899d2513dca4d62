"""Local and remote files of a catalogue, read at random and from front to back."""

import builtins
import errno
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.storage import jsonl, parquet_file, stored_files
from eclip_mm.datasets.storage.row_groups import RowGroupReader
from eclip_mm.datasets.storage.schema import BrokenGroupError
from eclip_mm.datasets.storage.stored_files import StoredFile, find_files
from helpers.catalogues import make_rows, write_rows

SUFFIXES = ['.jsonl', '.parquet']


def open_at(url):
    return open_file(StoredFile(url))


def product_ids(spans):
    return [[(number, row['product_id']) for number, row in span] for span in spans]


class TestFiles:
    def test_found_in_their_order(self, tmp_path, monkeypatch):
        for name in ('b', 'a'):
            write_rows(make_rows(2), tmp_path / 'folder' / f'{name}.parquet')
        (tmp_path / 'folder' / 'notes.txt').write_text('')
        write_rows(make_rows(2), tmp_path / 'c.jsonl')
        monkeypatch.chdir(tmp_path)

        def found(catalogue):
            return [str(file) for file in find_files(catalogue)]

        assert found('folder') == found('./folder/') == ['folder/a.parquet', 'folder/b.parquet']
        assert found('f*/[b].parquet') == [str(tmp_path / 'folder' / 'b.parquet')]
        assert found(['c.jsonl', f'file://{tmp_path}/folder']) == [
            'c.jsonl',
            f'{tmp_path}/folder/a.parquet',
            f'{tmp_path}/folder/b.parquet',
        ]
        with pytest.raises(CatalogueError, match=r'x\*: no file matches the pattern'):
            find_files('x*')

    def test_local_names_that_look_like_addresses(self, tmp_path):
        for name in ('a::b.parquet', '[1].parquet'):
            path = write_rows(make_rows(2), tmp_path / '[x]' / name)
            assert len(read_catalogue(path)) == 2
        assert [file.path for file in find_files(tmp_path / '[x]')] == [
            str(tmp_path / '[x]' / name) for name in ('[1].parquet', 'a::b.parquet')
        ]

    def test_addresses(self):
        memory = fsspec.filesystem('memory')
        memory.pipe({f'/shop/data/{name}.parquet': name.encode() for name in 'ab'})
        memory.pipe('/shop/pictures/1.png', b'picture')
        for prefix in ('memory', 'simplecache::memory'):
            files = find_files(f'{prefix}://shop/data/*.parquet')
            assert [file.url for file in files] == [
                f'{prefix}:///shop/data/{name}.parquet' for name in 'ab'
            ]
            again = StoredFile(files[1].url)  # as another machine opens it
            assert again.open().read() == b'b'
            assert again.num_bytes() == 1
            assert again.read_beside('../pictures/./1.png') == b'picture'
        assert [file.url for file in find_files('memory://shop/data')] == [
            f'memory:///shop/data/{name}.parquet' for name in 'ab'
        ]
        with pytest.raises(CatalogueError, match='lies on a local file system; use ProductStream'):
            read_catalogue('memory://shop/data')

    def test_what_is_gone_is_not_tried_again(self, monkeypatch):
        monkeypatch.setattr(stored_files.time, 'sleep', lambda seconds: waits.append(seconds))
        for error, expected in (
            (TimeoutError('slow'), [1, 2, 4]),
            (OSError(errno.EMFILE, 'too many'), [1, 2, 4]),
            (FileNotFoundError(errno.ENOENT, 'gone'), []),
            (PermissionError(errno.EACCES, 'forbidden'), []),
            (OSError('Corrupt data'), []),  # as Arrow reports damage
        ):
            waits = []

            def fail(error=error):
                raise error

            with pytest.raises(type(error)):
                stored_files.persist(fail)
            assert waits == expected


class TestRandomAccess:
    def test_decoded_row_groups_are_kept_up_to_a_bound(self, tmp_path):
        path = write_rows(make_rows(12), tmp_path / 'c.parquet')  # groups of three
        opened = open_at(path)
        for cache_bytes, kept in ((1, 1), (2**20, 4)):
            opened.reader.cache_bytes = cache_bytes
            for i in (0, 5, 8, 11, 0):
                assert opened.load(i, [0])['product_id'] == f'p{i}'
            assert len(opened.reader._cache) == kept
        assert len(pickle.loads(pickle.dumps(opened)).reader._cache) == 0
        reader = RowGroupReader(find_files(path))
        reader.read(0)
        assert not reader._cache, 'nothing is kept by default'

    def test_two_threads_read_at_once(self, tmp_path, monkeypatch):
        """One reads ahead and the other replaces faulty rows; footers come and go."""
        monkeypatch.setattr(RowGroupReader, 'max_kept_groups', 1)
        for i in range(2):
            write_rows(make_rows(24), tmp_path / f'{i}.parquet')
        reader = RowGroupReader(find_files(tmp_path))
        numbers = [*range(16)] * 20
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda i: reader.read_rows(i, 0, 1)[0]['product_id'], numbers))
        assert read == [f'p{3 * i % 24}' for i in numbers]


class TestFrontToBack:
    @pytest.fixture
    def coarse(self, tmp_path):
        """40 rows of 100 kB in one row group."""
        noise = np.random.default_rng(0)
        table = pa.table(
            dict(
                product_id=[f'p{i}' for i in range(40)],
                text=['text'] * 40,
                images=[[dict(bytes=noise.bytes(100_000), source='merchant')] for _ in range(40)],
            )
        )
        pages = dict(use_dictionary=False, data_page_size=2**16, write_batch_size=1)
        pq.write_table(table, tmp_path / 'coarse.parquet', **pages)
        return tmp_path / 'coarse.parquet'

    @pytest.mark.parametrize('scheme', ['', 'remote://'])
    def test_a_row_group_is_decoded_once_and_never_whole(
        self, coarse, scheme, remote, monkeypatch
    ):
        monkeypatch.setattr(parquet_file, 'BATCH_ROWS', 4)
        monkeypatch.setattr(RowGroupReader, 'max_fetched_bytes', 2**20)
        monkeypatch.setattr(RowGroupReader, 'part_bytes', 2**17)
        calls = []
        for method in (pq.ParquetFile.read_row_group, pq.ParquetFile.iter_batches):

            def counted(*args, _method=method, **kwargs):
                calls.append(_method.__name__)
                return _method(*args, **kwargs)

            monkeypatch.setattr(pq.ParquetFile, method.__name__, counted)
        before, held = pa.total_allocated_bytes(), []
        for rows in open_at(f'{scheme}{coarse}').read_spans((i, i + 3) for i in range(0, 40, 3)):
            held.append(pa.total_allocated_bytes() - before)
            del rows
        assert len(held) == 14 and len(calls) == 1
        assert max(held) < 1_500_000, 'of 4 MB'
        assert max(remote.fetched, default=0) < 1_000_000

    def test_lines_are_read_once(self, tmp_path, monkeypatch):
        path = write_rows(make_rows(11), tmp_path / 'rows.jsonl')
        opened = []

        def counted(file, *args, _open=builtins.open, **kwargs):
            opened.append(str(file))
            return _open(file, *args, **kwargs)

        monkeypatch.setattr(builtins, 'open', counted)
        spans = open_at(path).read_spans((i, min(i + 2, 11)) for i in range(0, 11, 2))
        assert [number for span in spans for number, _ in span] == list(range(1, 12))
        assert opened.count(str(path)) == 1

    @pytest.mark.parametrize('scheme', ['', 'remote://'])
    @pytest.mark.parametrize('suffix', SUFFIXES)
    def test_rows_of_any_spans(self, tmp_path, monkeypatch, remote, suffix, scheme):
        """Across groups of 3 rows and batches of 2, with gaps, and beyond the end."""
        monkeypatch.setattr(parquet_file, 'BATCH_ROWS', 2)
        opened = open_at(f'{scheme}{write_rows(make_rows(11), tmp_path / f"rows{suffix}")}')
        num_rows, parts = opened.divide(6)
        assert (num_rows, [count for _, count in parts]) == (11, [6, 5])
        random = np.random.default_rng(0)
        for begin, (offset, _) in zip((0, 6), parts, strict=True):
            for _ in range(20):
                cuts = sorted(random.choice(np.arange(begin, 14), 4, replace=False).tolist())
                spans = list(pairwise(cuts))[:: random.integers(1, 3)]
                assert product_ids(opened.read_spans(spans, begin, offset)) == [
                    [(i + 1, f'p{i}') for i in range(start, min(stop, 11))]
                    for start, stop in spans
                ]

    @pytest.mark.parametrize('suffix', SUFFIXES)
    def test_a_file_system_that_fails_in_the_middle(self, tmp_path, monkeypatch, remote, suffix):
        """No row is lost or read twice; a file system that never answers is no damage."""
        monkeypatch.setattr(parquet_file, 'BATCH_ROWS', 2)
        monkeypatch.setattr(RowGroupReader, 'max_fetched_bytes', 0)
        monkeypatch.setattr(RowGroupReader, 'part_bytes', 300)
        monkeypatch.setattr(jsonl, 'BUFFER_BYTES', 300)
        monkeypatch.setattr(remote, 'block_size', 300)
        rows = make_rows(11)
        for row in rows:
            row['images'][0]['bytes'] = bytes(2000)
        path = write_rows(rows, tmp_path / f'rows{suffix}')
        if suffix == '.parquet':  # one group, a page for each row
            pages = dict(use_dictionary=False, data_page_size=1, write_batch_size=1)
            pq.write_table(pq.read_table(path), path, compression='none', **pages)
        opened, found = open_at(f'remote://{path}'), []
        for span in opened.read_spans((i, i + 1) for i in range(11)):
            found.append(span)
            remote.failures = 3
        assert product_ids(found) == [[(i + 1, f'p{i}')] for i in range(11)]
        assert remote.failed >= 3 * 3
        spans = opened.read_spans([(0, 1), (1, 11)])
        next(spans)
        remote.failures = 100
        with pytest.raises((BrokenGroupError, TimeoutError), match='does not answer'):
            next(spans)
