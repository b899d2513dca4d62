"""Figures as text: aligned for a terminal, or Markdown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

SUFFIXES = ('_chance', '_low', '_high')


def format_table(
    header: Sequence[str], rows: Sequence[Sequence], markdown: bool = False, digits: int = 3
) -> str:
    """Lay out a table; the first column to the left, the others to the right.

    Args:
        header (sequence[str]): Names of the columns.
        rows (sequence): Cells: str, int, float (rounded to ``digits``) or None
            (shown as '-').
        markdown (bool): Pipes for Markdown instead of spaces and a rule.
        digits (int): Decimals of floats.

    Returns:
        str: Lines without a final newline.

    Raises:
        ValueError: A row has another number of cells than the header.
    """

    def show(cell) -> str:
        if cell is None:
            return '-'
        text = f'{cell:.{digits}f}' if isinstance(cell, float) else str(cell)
        return text.replace('|', '\\|') if markdown else text

    table = [[show(cell) for cell in row] for row in [header, *rows]]
    for number, row in enumerate(table[1:]):
        if len(row) != len(header):
            raise ValueError(f'row {number} has {len(row)} cells, the header {len(header)}')
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = []
    for number, row in enumerate(table):
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f'| {" | ".join(cells)} |' if markdown else '  '.join(cells).rstrip())
        if number == 0:
            rules = ['-' * (width - 1) + (':' if i else '-') for i, width in enumerate(widths)]
            lines.append(f'| {" | ".join(rules)} |' if markdown else '-' * len('  '.join(cells)))
    return '\n'.join(lines)


def metrics_table(
    runs: Mapping[str, Mapping[str, float]],
    keys: Sequence[str] | None = None,
    markdown: bool = False,
    digits: int = 3,
) -> str:
    """Figures of one or several runs side by side, chance beside them.

    Args:
        runs (mapping): Label -> metrics as an evaluator returns them
            (``photos/right_box``, ``photos/right_box_chance``, ...).
        keys (sequence[str], optional): Figures to show, in this order.
            Defaults to every one that has a ``_chance``, then the counts;
            where none has a chance (detection), to all.
        markdown (bool): As in :func:`format_table`.
        digits (int): Likewise.

    Returns:
        str: One row per figure; an interval follows a figure as
        ``0.812 [0.790, 0.834]`` where the run has ``_low`` and ``_high``. The
        last column is chance; where runs differ in it (another set was
        measured) it reads ``differs``.

    Raises:
        KeyError: A key is in no run.
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
        return int(value)  # a count: metrics hand out floats
    if value is None or f'{key}_low' not in metrics:
        return value
    low, high = metrics[f'{key}_low'], metrics[f'{key}_high']
    return f'{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]'


def write_metrics(metrics: Mapping[str, float], folder: str | Path, title: str) -> str:
    """Save the figures of one evaluation as ``metrics.json`` and ``table.md``.

    Args:
        metrics (mapping): As an evaluator returns them.
        folder (str or Path): Where both files go; made if it is not there.
        title (str): What was evaluated: heading of ``table.md``.

    Returns:
        str: The same table for a terminal.
    """
    folder, column = Path(folder), 'value'
    if any(key.endswith('_low') for key in metrics):
        column = 'value [95% interval]'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(dict(metrics), indent=2) + '\n')
    table = metrics_table({column: metrics}, markdown=True)
    (folder / 'table.md').write_text(f'# {title}\n\n{table}\n')
    return f'\n{title}\n\n{metrics_table({column: metrics})}'
