"""Whether checkpoint hooks have the options that they use, and ``save_best`` a figure."""

import inspect
from collections.abc import Iterable

from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, Hook

from eclip_mm.utils.matches import close_match

#: what metrics add to the name of a figure
_SUFFIXES = ('_chance', '_low', '_high')


def check_checkpoint_hooks(hooks: Iterable[Hook], evaluator: Evaluator | None) -> None:
    """Check what mmengine's checkpoint hook finds out at its first save.

    Args:
        hooks: all hooks of a training.
        evaluator: of the validation; None if there is none.

    Raises:
        KeyError: a hook has an unknown option, or the validation does not give the figure of
            ``save_best``.
    """
    for hook in hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        known = set(inspect.signature(CheckpointHook.__init__).parameters) - {'self', 'kwargs'}
        for key in hook.args:  # which mmengine passes on to Runner.save_checkpoint
            meant = close_match(key, known)
            raise KeyError(
                f'{type(hook).__name__} has no option {key!r}; '
                + (f'did you mean {meant!r}?' if meant else f'it has {", ".join(sorted(known))}')
            )
        if evaluator is not None:
            for figure in hook.save_best or ():
                check_figure(figure, evaluator)


def check_figure(figure: str, evaluator: Evaluator) -> None:
    """Check that metrics can give a figure, as far as they tell what they give.

    Raises:
        KeyError: they cannot.
    """
    known, open_prefixes = set(), set()
    for metric in evaluator.metrics:
        prefix = getattr(metric, 'prefix', None)
        names = figure_names(metric)
        if names is None:
            open_prefixes.add(prefix)
        else:
            known |= {f'{prefix}/{name}' for name in names}
    if figure == 'auto':
        if known:
            raise KeyError(
                f"save_best='auto' takes the first figure of a validation, which is a count; name "
                f'one of {", ".join(sorted(known))}'
            )
        return
    plain = figure
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    if plain in known or figure in known:
        return
    if None in open_prefixes or any(figure.startswith(f'{p}/') for p in open_prefixes):
        return  # a metric that does not tell
    meant = close_match(figure, known)
    raise KeyError(
        f'save_best={figure!r} is no figure of the validation'
        + (f'; did you mean {meant!r}?' if meant else '')
        + f' Its figures are {", ".join(sorted(known)) or "those of no metric here"}'
    )


def figure_names(metric) -> set[str] | None:
    """Figures that a metric can give, without its prefix; None for one that does not tell."""
    tell = getattr(metric, 'figure_names', None)
    if tell is not None:
        return tell()
    if type(metric).__name__ == 'CocoMetric' and not metric.classwise:  # mmdet's
        items = metric.metric_items or ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
        if not {'proposal', 'proposal_fast'} & set(metric.metrics):
            return {f'{kind}_{item}' for kind in metric.metrics for item in items}
    return None
