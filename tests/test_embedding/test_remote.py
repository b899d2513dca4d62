"""A catalogue on a remote file system gives the features and faults of a local one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from eclip_mm.embedding import embed_catalogue
from eclip_mm.embedding.job import texts_of
from helpers.catalogues import make_rows, write_rows
from test_embedding.test_features import read_features, read_skipped


def without_files(rows) -> list[dict]:
    """Rows without the name of their file and the words of a reason."""
    return [{k: v for k, v in row.items() if k not in ('file', 'reason')} for row in rows]


@pytest.mark.parametrize('num_workers', [0, pytest.param(1, marks=pytest.mark.slow)])
def test_memory_file_system(both, place, tmp_path, num_workers):
    """Parquet, and JSON Lines whose pictures are named by paths beside the file."""
    embed_catalogue(both)
    memory = fsspec.filesystem('memory')
    for path in place.iterdir():
        memory.pipe(f'/shop/{path.name}', path.read_bytes())
    there = replace(
        both,
        catalogue=['memory://shop/*.parquet', 'memory://shop/faulty.jsonl'],
        out=str(tmp_path / 'there'),
        num_workers=num_workers,
    )
    # names of negative queries
    assert list(texts_of(there)) == list(texts_of(both)) and 'five' in texts_of(both)
    assert embed_catalogue(there) == dict(
        rows=17, written=14, skipped=3, skipped_pictures=3, shards=5
    )
    rows = read_features(there.out)
    assert {row['file'] for row in rows} == {
        'memory:///shop/good.parquet',
        'memory://shop/faulty.jsonl',
    }
    assert without_files(rows) == without_files(read_features(both.out))
    skipped = read_skipped(there.out)
    assert "picture 'd#1' (gone.png) cannot be read" in skipped[3]['reason']
    assert without_files(skipped) == without_files(read_skipped(both.out))


def test_storage_options_reach_the_file_system_and_are_not_stored(options, place, remote):
    address = f'remote://{place}/good.parquet'
    there = replace(options, catalogue=[address], storage_options=dict(secret='abc123'))
    assert embed_catalogue(there)['written'] == 11
    assert remote.options == dict(secret='abc123')
    assert all(file.closed for file in remote.opened)
    for path in Path(options.out).iterdir():
        assert b'abc123' not in path.read_bytes()
    embed_catalogue(replace(there, storage_options=None))  # other credentials, the same features


@pytest.mark.parametrize('suffix', ['.jsonl', '.parquet'])
def test_a_file_system_that_does_not_answer_ends_the_run(options, tmp_path, remote, suffix):
    """Rows and pictures must not be reported as broken for it, and the run can be continued."""
    path = write_rows(make_rows(11), tmp_path / f'c{suffix}')
    there = replace(options, catalogue=[f'remote://{path}'], features=('text', 'image'))
    seen = []

    def fail_at_the_third_shard(counts, total, done):
        # the first count comes when the second shard has its features
        for count in counts:
            seen.append((total, done))
            remote.failures = 100
            yield count

    with pytest.raises((ValueError, OSError), match='does not answer'):
        embed_catalogue(there, progress=fail_at_the_third_shard)
    assert seen == [(3, 0)]
    assert len(list(Path(options.out).glob('features-*'))) == 2
    remote.failures = 0
    summary = embed_catalogue(there)
    assert (summary['written'], summary['skipped']) == (11, 0)
    assert not read_skipped(options.out)


def test_a_picture_that_is_gone_is_a_fault(options, tmp_path, remote):
    path = write_rows(make_rows(3), tmp_path / 'c.jsonl')
    row = json.loads(path.read_text().splitlines()[1])
    shutil.rmtree(tmp_path / Path(row['images'][0]['path']).parent, ignore_errors=True)
    there = replace(options, catalogue=[f'remote://{path}'], features=('text',))
    summary = embed_catalogue(there)
    assert summary['skipped'] == 3
    assert 'cannot be read' in read_skipped(options.out)[0]['reason']


def test_expired_credentials_end_the_run(options, tmp_path, remote, monkeypatch):
    """Remote file systems say so for each picture: all of them would be reported as gone."""
    path = write_rows(make_rows(3), tmp_path / 'c.jsonl')

    def refuse(self, path, **kwargs):
        raise PermissionError(f'{path}: the token has expired')

    monkeypatch.setattr(remote, 'cat_file', refuse)
    there = replace(options, catalogue=[f'remote://{path}'], features=('text',))
    with pytest.raises(PermissionError, match='expired'):
        embed_catalogue(there)
    assert not read_skipped(options.out)
