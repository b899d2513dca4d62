"""Settings that a resumed training takes from its checkpoint, compared with those of its config.

mmengine loads the state of optimiser and schedulers with all their settings, so that other ones
in the config would be without effect.
"""

import math
from collections.abc import Iterator, Mapping

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper

#: what an optimiser keeps of a group of parameters beside the settings that count here
_NO_SETTING = {'params', 'lr', 'initial_lr', 'fused', 'foreach', 'capturable', 'differentiable'}
#: what a scheduler keeps beside its settings
_PROGRESS = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose'}
#: what a scheduler makes of its `end`
_FOLLOW_FROM_END = {'total_iters', 'T_max'}


def check_has_state(checkpoint: Mapping) -> None:
    """Check that a checkpoint is one of a training, and not of weights alone.

    Raises:
        ValueError: a training cannot be resumed from it.
    """
    lacking = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
    lacking += [
        f'meta.{key}' for key in ('epoch', 'iter') if key not in checkpoint.get('meta', {})
    ]
    if lacking:
        raise ValueError(
            f'the checkpoint has weights, but no {", ".join(lacking)}: a training cannot be '
            'resumed from it. Take iter_*.pth or epoch_*.pth of its work dir, or start a new '
            'training from these weights with load_from and without --resume'
        )


def check_settings(runner, checkpoint: Mapping) -> None:
    """Check that optimiser and schedulers are those of a checkpoint.

    ``train_cfg.max_epochs`` may change: the training then ends later or earlier, and its
    learning rate is still that of the schedule.

    Args:
        runner: of the training that is resumed, with optimiser and schedulers built.
        checkpoint: what is loaded.

    Raises:
        ValueError: a setting differs.
    """
    changes, schedule = (
        list(_optimizer_changes(runner, checkpoint)),
        list(_schedule_changes(runner, checkpoint)),
    )
    before = (checkpoint['meta'].get('training') or {}).get('max_epochs', runner.max_epochs)
    epochs = f'train_cfg.max_epochs was {before} and is {runner.max_epochs}'
    if schedule and before != runner.max_epochs:
        schedule.append(f'{epochs}, which a scheduler without `end` follows')
    if changes or schedule:
        raise ValueError(
            'a resumed training keeps optimiser and schedule of its checkpoint: '
            f'{"; ".join([*changes, *schedule])}. Set them as they were, or start a new training '
            'from these weights with load_from and without --resume'
        )
    if before != runner.max_epochs:
        print_log(f'{epochs}; the schedule of the learning rate stays', logger='current')


def _optimizer_changes(runner, checkpoint: Mapping) -> Iterator[str]:
    saved_type = (checkpoint['meta'].get('training') or {}).get('optimizer')
    saved = checkpoint['optimizer'].get('param_groups')
    # several optimisers, or one that is not built, since nothing is trained
    if not isinstance(runner.optim_wrapper, OptimWrapper) or saved is None:
        return
    optimizer = runner.optim_wrapper.optimizer
    if saved_type not in (None, type(optimizer).__name__):
        yield f'optim_wrapper.optimizer.type was {saved_type} and is {type(optimizer).__name__}'
        return
    before, now = (
        [len(group['params']) for group in groups] for groups in (saved, optimizer.param_groups)
    )
    if before != now:
        yield (
            f'the optimiser had groups of {before} tensors and has {now}: have '
            'model.freeze, pretext_heads or optim_wrapper.paramwise_cfg changed?'
        )
        return
    found = {}
    for old, new in zip(saved, optimizer.param_groups, strict=True):
        # a schedule changes `lr`, and keeps where it started
        pairs = {'lr': [group.get('initial_lr', group['lr']) for group in (old, new)]}
        pairs |= {key: (old[key], new[key]) for key in old.keys() & new.keys() - _NO_SETTING}
        for key, (before, now) in pairs.items():
            if not _same(before, now):
                found.setdefault(key, (before, now))
    for key, (old, new) in sorted(found.items()):
        yield f'optim_wrapper.optimizer.{key} was {_shown(old)} and is {_shown(new)}'


def _schedule_changes(runner, checkpoint: Mapping) -> Iterator[str]:
    ours, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    ours, saved = ours or [], saved or []
    if isinstance(saved, dict) or isinstance(ours, dict):  # several optimisers
        return
    if any(isinstance(scheduler, dict) for scheduler in ours):  # not built: nothing is trained
        return
    if len(ours) != len(saved):
        yield f'param_scheduler had {len(saved)} schedulers and has {len(ours)}'
        return
    names = (checkpoint['meta'].get('training') or {}).get('schedulers') or [None] * len(saved)
    for number, (new, old, name) in enumerate(zip(ours, saved, names, strict=True)):
        key = f'param_scheduler.{number}'
        if name not in (None, type(new).__name__):
            yield f'{key}.type was {name} and is {type(new).__name__}'
            continue
        new = new.state_dict()
        # another version may know more or fewer
        changed = {k for k in new.keys() & old.keys() - _PROGRESS if not _same(old[k], new[k])}
        for name in sorted(changed - (_FOLLOW_FROM_END if 'end' in changed else set())):
            yield f'{key}.{name} was {_shown(old[name])} and is {_shown(new[name])}'


def _same(old, new) -> bool:
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, float) or isinstance(new, float):
        return isinstance(old, int | float) and math.isclose(old, new, rel_tol=1e-9)
    return old == new


def _shown(value) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)
