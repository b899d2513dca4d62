"""Checking that a resumed training continues with the same batches."""

import logging

from mmengine.logging import print_log

from eclip_mm.engine.train_loop import ResumableTrainLoop


def training_state(runner) -> dict | None:
    """What determines the batch of a step, to be stored in a checkpoint.

    Returns:
        ``batch_size`` of a rank, ``world_size``, ``steps_per_epoch`` and ``stream``,
        which is what the order of a ``ProductStream`` depends on, or None for other
        data sets. None if the train loop is not a ``ResumableTrainLoop``.
    """
    if not isinstance(runner.train_loop, ResumableTrainLoop):
        return None
    loader = runner.train_loop.dataloader
    return dict(
        batch_size=loader.batch_size,
        world_size=runner.world_size,
        steps_per_epoch=len(loader),
        stream=getattr(loader.dataset, 'layout', None),
    )


def check_resumable(runner, saved: dict | None) -> None:
    """Compare a resumed training with the one that wrote the checkpoint.

    The position in an epoch is stored as a number of steps. If the global batch size
    or the number of products has changed, the same step is another position, and
    some products would be used twice or not at all. The number of ranks may change
    as long as the global batch size does not.

    Args:
        runner: the runner of the resumed training.
        saved: :func:`training_state` in the checkpoint, or None if it has none.

    Raises:
        ValueError: global batch size, steps per epoch or the order of a stream differ.
    """
    now = training_state(runner)
    if not saved or not now:
        return
    ours, theirs = (state['batch_size'] * state['world_size'] for state in (now, saved))
    if ours != theirs:
        raise ValueError(
            f'the checkpoint was trained with batches of {theirs} ({saved["batch_size"]} on each '
            f'of {saved["world_size"]} ranks) and this training has batches of {ours} '
            f'({now["batch_size"]} on each of {now["world_size"]} ranks), so it cannot resume at '
            f'the same position. Set train_dataloader.batch_size so that the total is {theirs}, '
            'or start a new training from these weights with load_from and without --resume'
        )
    if now['steps_per_epoch'] != saved['steps_per_epoch']:
        raise ValueError(
            f'an epoch of the checkpoint had {saved["steps_per_epoch"]} steps and now has '
            f'{now["steps_per_epoch"]}: have the catalogue, its sources or the sampler changed? '
            'Restore them, or start a new training from these weights with load_from and without '
            '--resume'
        )
    stream, old_stream = now['stream'] or {}, saved.get('stream') or {}
    # of two streams what both tell: an older version told less
    keys = stream.keys() & old_stream.keys() if stream and old_stream else stream | old_stream
    changed = sorted(key for key in keys if stream.get(key) != old_stream.get(key))
    if changed:
        told = ', '.join(
            f'{key} {old_stream.get(key)} and now {stream.get(key)}' for key in changed
        )
        advice = 'Set train_dataloader.dataset as it was'
        if changed == ['num_shares']:  # which nobody may have set
            advice = (
                'By default there is one share for each rank: set '
                f'train_dataloader.dataset.num_shares={old_stream["num_shares"]}'
            )
        raise ValueError(
            f'the checkpoint was trained on a stream with {told}: its products would come in '
            f'another order. {advice}, or start a training from these weights with load_from '
            'and without --resume'
        )
    if now['world_size'] != saved['world_size']:
        print_log(
            f'the number of ranks was {saved["world_size"]} and is now {now["world_size"]}: the '
            'batches stay the same, but the random numbers of each rank (dropout) do not',
            logger='current',
            level=logging.WARNING,
        )
