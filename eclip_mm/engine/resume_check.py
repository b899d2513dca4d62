"""Whether a resumed training makes the same steps as the one that was stopped."""

import logging

from mmengine.logging import print_log

from eclip_mm.engine.train_loop import ResumableTrainLoop

# names of stream options in checkpoints of older versions -> their names now
_RENAMED = dict(num_shares='num_shards', num_lanes='num_virtual_workers')


def training_state(runner) -> dict | None:
    """What the number of a step means, to be stored in a checkpoint; None for other loops.

    Returns:
        ``batch_size`` of a rank, ``world_size``, ``steps_per_epoch``, ``max_epochs``, the names
        of the classes of ``optimizer`` and ``schedulers``, and ``stream``: what the order of a
        ``ProductStream`` follows from, None for other data.
    """
    if not isinstance(runner.train_loop, ResumableTrainLoop):
        return None
    loader = runner.train_loop.dataloader
    return dict(
        batch_size=loader.batch_size,
        world_size=runner.world_size,
        steps_per_epoch=len(loader),
        max_epochs=runner.max_epochs,
        optimizer=type(getattr(runner.optim_wrapper, 'optimizer', None)).__name__,
        schedulers=[type(s).__name__ for s in runner.param_schedulers or ()],
        stream=getattr(loader.dataset, 'layout', None),
    )


def check_resumable(runner, saved: dict | None) -> None:
    """Compare a training with the one that wrote a checkpoint.

    The place in the epoch is a number of steps: with another global batch, or another number of
    products, it would be another place, and some products would be read twice or never. Another
    number of ranks with the same global batch reads the same batches.

    Args:
        runner: runner of the training that is resumed.
        saved: :func:`training_state` of the other training; None if it stored none.

    Raises:
        ValueError: global batch, steps per epoch or the order of a stream differ.
    """
    now = training_state(runner)
    if not saved or not now:
        return
    ours, theirs = (state['batch_size'] * state['world_size'] for state in (now, saved))
    if ours != theirs:
        raise ValueError(
            f'the checkpoint was trained with batches of {theirs} ({saved["batch_size"]} on each '
            f'of {saved["world_size"]} ranks), this training has {ours} ({now["batch_size"]} on '
            f'each of {now["world_size"]}): it cannot continue at the same place. Set '
            f'train_dataloader.batch_size so that the product is {theirs}, or start a training '
            'from these weights with load_from and without --resume'
        )
    if now['steps_per_epoch'] != saved['steps_per_epoch']:
        raise ValueError(
            f'an epoch of the checkpoint had {saved["steps_per_epoch"]} steps and now has '
            f'{now["steps_per_epoch"]}: have the catalogue, its sources or the sampler changed? '
            'Bring them back, or start a training from these weights with load_from and without '
            '--resume'
        )
    stream = now['stream'] or {}
    old_stream = {_RENAMED.get(k, k): v for k, v in (saved.get('stream') or {}).items()}
    # an older version stored less of a stream: compare what both know
    keys = stream.keys() & old_stream.keys() if stream and old_stream else stream | old_stream
    changed = sorted(key for key in keys if stream.get(key) != old_stream.get(key))
    if changed:
        values = ', '.join(
            f'{key} {old_stream.get(key)} and now {stream.get(key)}' for key in changed
        )
        advice = 'Set train_dataloader.dataset as it was'
        if changed == ['num_shards']:  # which the user may never have set
            advice = (
                'By default there is one shard for each rank: set '
                f'train_dataloader.dataset.num_shards={old_stream["num_shards"]}'
            )
        raise ValueError(
            f'the checkpoint was trained on a stream with {values}: its products would come in '
            f'another order. {advice}, or start a training from these weights with load_from '
            'and without --resume'
        )
    if now['world_size'] != saved['world_size']:
        print_log(
            f'{saved["world_size"]} ranks have become {now["world_size"]}: the batches are the '
            'same, but what each rank draws (dropout) is not',
            logger='current',
            level=logging.WARNING,
        )
