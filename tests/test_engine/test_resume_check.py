"""A training resumes only if the number of a step means the same batch."""

import pytest
import torch

from eclip_mm.engine.resume_check import check_resumable, training_state
from helpers.runs import BATCH, make_runner


@pytest.fixture
def checkpoint(tmp_path):
    make_runner(tmp_path).train()
    return str(tmp_path / 'iter_4.pth')


def resume(tmp_path, checkpoint, **options):
    return make_runner(
        tmp_path / 'again', load_from=checkpoint, resume=True, epochs=2, **options
    ).train()


def loader(batch_size=BATCH, size=16):
    return dict(
        batch_size=batch_size,
        num_workers=0,
        drop_last=True,
        sampler=dict(type='ResumableSampler', shuffle=True),
        collate_fn=dict(type='collate_products'),
        dataset=dict(type='FakeProducts', size=size),
    )


@pytest.mark.slow
def test_another_batch_or_catalogue_is_refused(tmp_path, checkpoint):
    meta = torch.load(checkpoint, weights_only=True)['meta']
    state = dict(
        batch_size=4,
        world_size=1,
        steps_per_epoch=4,
        max_epochs=1,
        optimizer='AdamW',
        schedulers=[],
        stream=None,
    )
    assert meta['training'] == state
    with pytest.raises(ValueError, match=r'batches of 4 \(4 on each of 1 ranks\).* has 8'):
        resume(tmp_path, checkpoint, train_dataloader=loader(8))
    with pytest.raises(ValueError, match='had 4 steps and now has 5.*catalogue'):
        resume(tmp_path, checkpoint, train_dataloader=loader(size=20))
    resume(tmp_path, checkpoint)


def test_the_global_batch_may_be_dealt_to_other_ranks(tmp_path, monkeypatch):
    runner = make_runner(tmp_path)
    state = training_state(runner)
    check_resumable(runner, dict(state, batch_size=2, world_size=2))
    with pytest.raises(ValueError, match='batches of 8'):
        check_resumable(runner, dict(state, world_size=2))
    check_resumable(runner, None)  # written by an older version


def test_a_stream_in_another_order_is_refused(tmp_path):
    runner = make_runner(tmp_path)
    state = training_state(runner)
    dataset = runner.train_loop.dataloader.dataset
    dataset.layout = dict(num_virtual_workers=4, rows=16)
    check_resumable(runner, dict(state, stream=dict(num_virtual_workers=4, rows=16)))
    check_resumable(runner, dict(state, stream=dict(num_virtual_workers=4)))  # stored less
    with pytest.raises(ValueError, match='a stream with num_virtual_workers 8 and now 4: '):
        check_resumable(runner, dict(state, stream=dict(num_virtual_workers=8, rows=16)))
    dataset.layout = dict(num_shards=2)
    with pytest.raises(ValueError, match=r'num_shards 4 and now 2: .*dataset.num_shards=4,'):
        check_resumable(runner, dict(state, stream=dict(num_shards=4)))
    dataset.layout = dict(num_virtual_workers=4, rows=16)
    with pytest.raises(ValueError, match='num_virtual_workers None and now 4'):  # was map-style
        check_resumable(runner, state)


def test_a_stream_whose_options_had_other_names(tmp_path):
    """Checkpoints of older versions have num_lanes and num_shares."""
    runner = make_runner(tmp_path)
    runner.train_loop.dataloader.dataset.layout = dict(num_virtual_workers=8, num_shards=2)
    state = training_state(runner)
    check_resumable(runner, dict(state, stream=dict(num_lanes=8, num_shares=2)))
    with pytest.raises(ValueError, match='num_virtual_workers 4 and now 8: '):
        check_resumable(runner, dict(state, stream=dict(num_lanes=4, num_shares=2)))
    with pytest.raises(ValueError, match=r'num_shards 1 and now 2: .*dataset.num_shards=1,'):
        check_resumable(runner, dict(state, stream=dict(num_lanes=8, num_shares=1)))
