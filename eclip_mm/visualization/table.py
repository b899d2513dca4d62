"""Tables of an evaluation's figures, for the terminal and for files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from eclip_mm.utils.text_table import format_table

SUFFIXES = ('_chance', '_low', '_high')


def metrics_table(
    runs: Mapping[str, Mapping[str, float]],
    keys: Sequence[str] | None = None,
    markdown: bool = False,
    digits: int = 3,
) -> str:
    """Format the figures of one or several runs side by side, with chance.

    Args:
        runs: label -> metrics as an evaluator returns them
            (``photos/right_box``, ``photos/right_box_chance``, ...).
        keys: figures to show, in this order. Defaults to all figures with a
            ``_chance``, then the counts; if no figure has a chance
            (detection), to all.
        markdown, digits: as in :func:`format_table`.

    Returns:
        One row per figure. Its interval follows as ``0.812 [0.790, 0.834]`` if
        the run has ``_low`` and ``_high``. The last column is chance; it is
        ``differs`` if the runs' chances differ because their test sets do.

    Raises:
        KeyError: a key is in no run.
    """
    known = dict.fromkeys(key for metrics in runs.values() for key in metrics)
    if keys is None:
        plain = [key for key in known if not key.endswith(SUFFIXES)]
        counts = [key for key in plain if 'num_' in key.rpartition('/')[2]]
        keys = [key for key in plain if f'{key}_chance' in known]
        keys = [*(keys or (key for key in plain if key not in counts)), *counts]
    rows = []
    for key in keys:
        if key not in known:
            raise KeyError(f'no run has a figure {key!r}; there are {sorted(known)}')
        chances = {
            metrics[f'{key}_chance'] for metrics in runs.values() if f'{key}_chance' in metrics
        }
        same = not chances or max(chances) - min(chances) < 0.5 * 10**-digits
        chance = (next(iter(chances)) if same else 'differs') if chances else ''
        rows.append([key, *(_figure(metrics, key, digits) for metrics in runs.values()), chance])
    return format_table(['figure', *runs, 'chance'], rows, markdown, digits)


def _figure(metrics: Mapping[str, float], key: str, digits: int):
    value = metrics.get(key)
    if value is not None and 'num_' in key.rpartition('/')[2]:
        return int(value)  # a count: metrics return floats
    if value is None or f'{key}_low' not in metrics:
        return value
    low, high = metrics[f'{key}_low'], metrics[f'{key}_high']
    return f'{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]'


def write_metrics(metrics: Mapping[str, float], folder: str | Path, title: str) -> str:
    """Save the figures of one evaluation as ``metrics.json`` and ``table.md``.

    Args:
        metrics: as an evaluator returns them.
        folder: folder for both files; created if it is missing.
        title: heading of ``table.md``: what was evaluated.

    Returns:
        The same table for a terminal.
    """
    folder, column = Path(folder), 'value'
    if any(key.endswith('_low') for key in metrics):
        column = 'value [95% interval]'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(dict(metrics), indent=2) + '\n')
    table = metrics_table({column: metrics}, markdown=True)
    (folder / 'table.md').write_text(f'# {title}\n\n{table}\n')
    return f'\n{title}\n\n{metrics_table({column: metrics})}'
