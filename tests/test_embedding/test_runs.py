"""Killed and continued, or on Ray, a run writes the shards of an uninterrupted one."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from eclip_mm.apis.model_export import export_model
from eclip_mm.embedding import EmbedOptions, embed_catalogue, job, read_counts, run_here, shards
from eclip_mm.embedding.shards import ShardWriter
from helpers.catalogues import make_rows, write_rows
from test_apis.conftest import write_checkpoint

NAMES = [f'features-{k:06d}-of-000005.parquet' for k in range(5)]


def embed_and_die(options, at):
    """kill -9 while a shard is being written."""
    torch.set_num_threads(1)
    write, count = pq.write_table, iter(range(100))

    def write_half(table, path, **kwargs):
        write(table, path, **kwargs)
        if next(count) == at:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    shards.pq.write_table = write_half
    embed_catalogue(options)


def contents(out) -> dict:
    """Bytes of all files, including the manifest, which does not name the folder."""
    return {path.name: path.read_bytes() for path in Path(out).iterdir()}


@pytest.mark.slow
def test_a_killed_run_is_continued(both, tmp_path):
    quiet = replace(both, out=str(tmp_path / 'quiet'))
    embed_catalogue(quiet)

    process = multiprocessing.get_context('fork').Process(target=embed_and_die, args=(both, 3))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    out = Path(both.out)
    assert sorted(path.name for path in out.glob('features-*')) == NAMES[:3]
    assert list(out.glob('.features-000003*.part'))  # the shard that was being written
    before = {name: (out / name).stat().st_mtime_ns for name in NAMES[:3]}

    (out / NAMES[1]).write_bytes((out / NAMES[1]).read_bytes()[:100])  # as after a power cut
    embed_catalogue(both)
    assert {n: (out / n).stat().st_mtime_ns == before[n] for n in NAMES[:3]} == {
        NAMES[0]: True,
        NAMES[1]: False,
        NAMES[2]: True,
    }
    assert contents(out) == contents(quiet.out)
    assert not list(out.glob('.*.part'))


def test_features_made_otherwise_are_not_mixed(options, tmp_path):
    embed_catalogue(options)
    manifest = Path(options.out) / '_embedding.json'
    assert json.loads(manifest.read_text())['files'][0]['rows'] == 11
    with pytest.raises(ValueError, match=r'made with rows_per_shard=4, now it is 5'):
        embed_catalogue(replace(options, rows_per_shard=5))
    other = tmp_path / 'other.pth'
    checkpoint = torch.load(options.checkpoint, weights_only=True)
    checkpoint['state_dict']['logit_scale'] += 1
    torch.save(checkpoint, other)
    with pytest.raises(ValueError, match='checkpoint_sha256'):
        embed_catalogue(replace(options, checkpoint=str(other)))
    moved = tmp_path / 'moved.pth'
    moved.write_bytes(Path(options.checkpoint).read_bytes())
    embed_catalogue(replace(options, checkpoint=str(moved), num_workers=3))


def test_a_lost_row_is_an_error(options, monkeypatch):
    embed_catalogue(options)
    path = Path(options.out) / 'features-000001-of-000003.parquet'
    table = pq.read_table(path)
    counts = dict(read_counts(path), written=3)
    pq.write_table(table.replace_schema_metadata({'eclip_mm': json.dumps(counts)}), path)
    with pytest.raises(RuntimeError, match='000001.*lost rows'):
        embed_catalogue(options)


@pytest.mark.parametrize('suffix', ['.jsonl', '.parquet'])
@pytest.mark.parametrize('kept', [0, 2, 5])
def test_a_file_cut_short_since_the_plan(options, tmp_path, suffix, kept):
    """As on a machine of a cluster that has an older file; rows 1 to 4 are the first shard."""
    path = write_rows(make_rows(7), tmp_path / f'rows{suffix}')

    def cut_and_run(*args):
        if suffix == '.jsonl':
            path.write_text(''.join(path.read_text().splitlines(keepends=True)[:kept]))
        else:
            pq.write_table(pq.read_table(path)[:kept], path)
        return run_here(*args)

    found, first, last, planned = (kept, 1, 4, 4) if kept < 4 else (1, 5, 7, 3)
    message = f'{path.name}: {found} rows were read between row {first} and {last}, and there were'
    with pytest.raises(RuntimeError, match=f'{message} {planned} when the run was planned'):
        embed_catalogue(replace(options, catalogue=[str(path)]), cut_and_run)
    shards_there = [file.name for file in Path(options.out).glob('features-*')]
    assert shards_there == ([] if kept < 4 else ['features-000000-of-000002.parquet'])


def test_a_shard_with_fewer_rows_than_planned(options):
    embed_catalogue(options)
    path = Path(options.out) / 'features-000001-of-000003.parquet'
    counts = dict(rows=3, written=3, skipped=0, skipped_pictures=0)
    table = pq.read_table(path)[:3].replace_schema_metadata({'eclip_mm': json.dumps(counts)})
    pq.write_table(table, path)
    with pytest.raises(RuntimeError, match='000001.*lost rows.*of the 4 of .*good.parquet'):
        embed_catalogue(options)


def test_a_run_keeps_to_one_kind_of_device(options, monkeypatch):
    embed_catalogue(options)
    manifest = json.loads((Path(options.out) / '_embedding.json').read_text())
    assert manifest['device'] == 'cpu'
    message = r"made with device='cpu', now it is 'cuda'"
    with pytest.raises(ValueError, match=message):
        embed_catalogue(replace(options, device='cuda:1'))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(ValueError, match=message):
        embed_catalogue(replace(options, device=None))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    embed_catalogue(replace(options, device=None))


def test_a_cluster_names_its_device(options, monkeypatch):
    """A machine without a GPU may start a run on a cluster that has them."""

    class Cluster:
        def device(self):
            return 'cuda'

        def __call__(self, options, num_shards, missing):
            assert options.device == 'cuda'
            return run_here(replace(options, device='cpu', num_workers=0), num_shards, missing)

    embed_catalogue(replace(options, device=None), Cluster())
    manifest = json.loads((Path(options.out) / '_embedding.json').read_text())
    assert manifest['device'] == 'cuda'


@pytest.mark.parametrize('faster', [True, False])
def test_bf16_where_it_is_faster_and_the_log_says_so(options, monkeypatch, capsys, faster):
    monkeypatch.setattr(job, 'bf16_is_faster', lambda device: faster)
    embed_catalogue(replace(options, amp=None))
    manifest = json.loads((Path(options.out) / '_embedding.json').read_text())
    assert manifest['amp'] is faster
    assert ('computed in bf16' if faster else 'computed in float32') in capsys.readouterr().out


def test_a_shard_is_written_while_the_next_one_is_computed(options, monkeypatch):
    """The first shard waits in the writer until the second one has its features."""
    begun, finish, fill = threading.Event(), ShardWriter.finish, job.ShardEmbedder.fill
    order = []

    def waiting(self):
        assert order or begun.wait(60)
        order.append('written')
        return finish(self)

    def counted(self, rows):
        order_before = len(order)
        writer = fill(self, rows)
        if rows.shard == 1:
            assert order_before == 0
            begun.set()
        return writer

    monkeypatch.setattr(ShardWriter, 'finish', waiting)
    monkeypatch.setattr(job.ShardEmbedder, 'fill', counted)
    counts = embed_catalogue(options)
    assert counts['rows'] == counts['written'] + counts['skipped'] and len(order) > 2


@pytest.mark.parametrize('device, wanted', [('cpu', 0), ('cuda', 2), ('cuda:1', 2)])
def test_workers_decode_beside_a_gpu(options, monkeypatch, device, wanted):
    found = []

    def run(options, num_shards, missing):
        found.append(options.num_workers)
        return run_here(replace(options, device='cpu', num_workers=0), num_shards, missing)

    monkeypatch.setattr(job, 'run_here', run)
    monkeypatch.setattr(job, 'num_cpus', lambda: 2)
    embed_catalogue(replace(options, device=device))
    assert found == [wanted]


@pytest.mark.slow
def test_the_tool_and_its_progress(both, place):
    command = [sys.executable, Path(__file__).parents[2] / 'tools/embed_catalog.py']
    good, faulty = both.catalogue
    command += [both.config, both.checkpoint, f'file://{good}', faulty, both.out]
    command += ['--features', 'text', '--storage-options', '{"auto_mkdir": false}']
    done = subprocess.run(
        [*map(str, command), '--rows-per-shard', '9', '--device', 'cpu'],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert '17 rows, 14 written, 3 skipped, 3 skipped pictures, 3 shards' in done.stdout
    assert '_skipped-*.jsonl' in done.stdout and '3/3' in done.stderr
    assert pq.read_table(both.out).column_names[-1] == 'text_feat'


@pytest.mark.slow
def test_ray_writes_the_same(both, tmp_path, monkeypatch):
    """Two workers, after a part of the shards was made without Ray."""
    pytest.importorskip('ray', reason="needs Ray Data: pip install -e '.[ray]'")
    from eclip_mm.embedding.cluster import RayRun

    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    quiet = replace(both, out=str(tmp_path / 'quiet'))
    embed_catalogue(quiet)
    embed_catalogue(both)
    for name in NAMES[1:]:
        (Path(both.out) / name).unlink()
    seen = []
    summary = embed_catalogue(
        replace(both, device=None),  # the cluster says which
        RayRun('local', num_models=2),
        lambda counts, total, done: (seen.append((total, done, c)) or c for c in counts),
    )
    assert summary['rows'] == 17 and summary['written'] == 14
    assert sorted(entry[2]['rows'] for entry in seen) == [3, 3, 3, 4]
    assert {entry[:2] for entry in seen} == {(5, 1)}
    ours, theirs = (pq.read_table(out) for out in (both.out, quiet.out))
    assert ours.drop_columns('file').schema == theirs.drop_columns('file').schema
    for a, b in zip(ours.to_pylist(), theirs.to_pylist(), strict=True):
        assert (a['file'], a['row'], a['product_id']) == (b['file'], b['row'], b['product_id'])
        for name in ('text_feat', 'image_feat', 'instance_feat'):
            torch.testing.assert_close(torch.tensor(a[name]), torch.tensor(b[name]))
    for report in Path(quiet.out).glob('_skipped-*'):
        assert (Path(both.out) / report.name).read_bytes() == report.read_bytes()


def test_an_exported_folder_gives_the_features_of_its_checkpoint(tmp_path, repo_root):
    checkpoint = write_checkpoint(tmp_path)
    folder = export_model(checkpoint, tmp_path / 'model')
    tables = []
    for source in (checkpoint, folder):
        out = tmp_path / f'of_{source.name}'
        options = EmbedOptions(
            config=str(repo_root / 'configs/embed.py'),
            checkpoint=str(source),
            catalogue=[str(tmp_path / 'shop.parquet')],
            out=str(out),
            per=('product', 'picture'),
            device='cpu',
        )
        assert embed_catalogue(options)['written'] == 7
        tables.append((pq.read_table(out), (out / '_embedding.json').read_bytes()))
    assert tables[0] == tables[1]
    config = str(repo_root / 'configs/demo/eclip_tiny_synthetic.py')
    with pytest.raises(ValueError, match='has a model, and .*model is a folder with its own'):
        embed_catalogue(replace(options, config=config, out=str(tmp_path / 'other')))
