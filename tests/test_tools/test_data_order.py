"""The products of every step after kill -9 and --resume, with other numbers of workers."""

import signal

import pytest

from eclip_mm.datasets import ParquetCatalogueWriter, read_catalogue

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('runs')]

STREAM = """sampler=None, dataset=dict(
    _delete_=True, type='ProductStream', catalogue={path!r},
    num_virtual_workers=4, shuffle_rows=40, pipeline={{{{_base_.train_pipeline}}}})"""


def test_a_map_style_run_goes_on_with_the_sequence(workplace, runs):
    assert_same_sequence(workplace, 'whole', 'killed', 'resumed')


def test_a_stream_goes_on_with_the_sequence(workplace):
    """Of a catalogue in row groups of five products."""
    path = workplace.folder / 'groups.parquet'
    with ParquetCatalogueWriter(path, group_rows=5) as writer:
        for row in read_catalogue(workplace.data / 'train.parquet'):
            writer.write(row)
    options = dict(data=STREAM.format(path=str(path)), more='train_cfg = dict(val_begin=3)')
    config = workplace.recorded('stream_whole', num_workers=0, **options)
    workplace.train('stream_whole', config=config)
    config = workplace.recorded('stream_killed', num_workers=2, kill_at=11, **options)
    workplace.train('stream', config=config, expected=-signal.SIGKILL)
    config = workplace.recorded('stream_resumed', num_workers=4, **options)
    workplace.train('stream', '--resume', config=config)
    assert_same_sequence(workplace, 'stream_whole', 'stream_killed', 'stream_resumed')


def assert_same_sequence(workplace, whole, killed, resumed):
    """8 steps an epoch, a checkpoint every 3 steps, killed before step 11."""
    expected = workplace.steps(whole)
    assert list(expected) == list(range(16))
    for epoch in (0, 1):
        ids = sum((expected[8 * epoch + k] for k in range(8)), [])
        assert len(set(ids)) == 64  # every product once
    assert expected[0] != expected[8]
    assert workplace.steps(killed) == {k: expected[k] for k in range(11)}
    assert workplace.steps(resumed) == {k: expected[k] for k in range(9, 16)}
