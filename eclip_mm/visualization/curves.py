"""Loss and metric curves from mmengine's logs."""

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, ordered so that neighbours differ clearly.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
BOOKKEEPING = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory', 'eta')

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def find_scalars(path: str | Path) -> list[Path]:
    """Find the log files of a run, oldest first.

    Args:
        path: a ``scalars.json``, or a work_dir with a
            ``<timestamp>/vis_data/scalars.json`` for each start and resume.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    files = sorted(path.glob('*/vis_data/scalars.json')) or sorted(
        path.glob('**/vis_data/scalars.json')
    )
    if not files:
        raise FileNotFoundError(
            f'{path}: neither a scalars.json nor a work_dir with '
            '<timestamp>/vis_data/scalars.json (written while training)'
        )
    return files


def load_curves(path: str | Path) -> Curves:
    """Read every logged scalar over training iterations.

    Training rows contain their iteration. A validation row contains only the
    epoch or, if the log is by iteration, the iteration. It is placed at the
    last iteration logged before it, or at its own if that is later. A resumed
    run replaces all rows of its predecessor from the same iteration on.

    Args:
        path: as in :func:`find_scalars`.

    Returns:
        Key -> (iterations (n,) int64, values (n,) float64).

    Raises:
        FileNotFoundError: as in :func:`find_scalars`.
        ValueError: a line is not JSON; the message names file and line. A last
            line cut off by a killed process is ignored.
    """
    points: dict[str, dict[int, float]] = {}
    for file in find_scalars(path):
        rows = read_rows(file)
        first = next((row['iter'] for row in rows if 'iter' in row), None)
        if first is not None:
            for values in points.values():
                for iteration in [i for i in values if i >= first]:
                    del values[iteration]
        # A validation before the first training row belongs to the iteration resumed from.
        last = max((i for values in points.values() for i in values), default=0)
        for row in rows:
            last = int(row['iter']) if 'iter' in row else max(last, int(row.get('step', 0)))
            for key, value in row.items():
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if number and key not in BOOKKEEPING:
                    points.setdefault(key, {})[last] = float(value)
    return {
        key: (
            np.array(sorted(values), dtype=np.int64),
            np.array([values[i] for i in sorted(values)]),
        )
        for key, values in points.items()
        if values
    }


def read_rows(file: Path) -> list[dict]:
    """Read the rows of one ``scalars.json``; ignore a last one cut off by a killed process.

    Raises:
        ValueError: a line is not JSON; the message names file and line.
    """
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f'{file}, line {number}: not JSON ({error})') from error
    return rows


def default_keys(runs: Mapping[str, Curves]) -> list[str]:
    """Choose the keys to draw: losses first, then figures that have a chance.

    If a figure has several cut-offs or thresholds (``R@5``, ``right_box@0.7``),
    only the one at 1 is drawn: 30 panels would be unreadable.
    """
    keys = dict.fromkeys(key for curves in runs.values() for key in curves)
    losses = [key for key in keys if 'loss' in key]
    losses.sort(key=lambda key: key != 'loss')
    return losses + [
        key for key in keys if f'{key}_chance' in keys and key.partition('@')[2] in ('', '1')
    ]


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average without the bias of a zero start; ``weight`` 0 is identity."""
    if not 0 <= weight < 1:
        raise ValueError(f'the smoothing weight lies in [0, 1), got {weight}')
    out, mean, mass = np.empty_like(values), 0.0, 0.0
    for i, value in enumerate(values):
        mean, mass = weight * mean + (1 - weight) * value, weight * mass + (1 - weight)
        out[i] = mean / mass
    return out


def over_seeds(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Restrict curves of several seeds to the iterations that all of them have.

    Args:
        curves: iterations (n_s,) and values (n_s,) of each seed.

    Returns:
        Common iterations (n,) and values (S, n); n is 0 if there is no common
        iteration.
    """
    steps = reduce(np.intersect1d, [steps for steps, _ in curves])
    return steps, np.stack([values[np.isin(own, steps)] for own, values in curves])


def plot_curves(
    runs: Mapping[str, str | Path | Sequence[str | Path]],
    out_file: str | Path,
    keys: Sequence[str] | None = None,
    columns: int = 3,
    smoothing: float = 0.0,
    title: str = '',
) -> Path:
    """Draw the curves of one or several runs, one panel per key, as a PNG.

    Args:
        runs: label -> ``scalars.json`` or work_dir. Several of them are the
            seeds of one training: the plot shows their mean in a band from the
            smallest to the largest value, over their common iterations.
        out_file: picture to write; missing folders are created.
        keys: logged scalars to show. Defaults to all losses and the main
            figures (:func:`default_keys`).
        columns: number of panels side by side.
        smoothing: weight of :func:`smooth` for the losses. The raw values of a
            single run stay visible as thin lines.
        title: heading.

    Returns:
        ``out_file``.

    Raises:
        FileNotFoundError: a run has no log.
        KeyError: a key is in no run.
        ValueError: there is nothing to draw, or a log is damaged.
    """
    curves = {label: [load_curves(path) for path in _paths(own)] for label, own in runs.items()}
    singly = {(label, k): run for label, own in curves.items() for k, run in enumerate(own)}
    known = {key for run in singly.values() for key in run}
    keys = default_keys(singly) if keys is None else list(keys)
    if not keys:
        raise ValueError(
            f'the logs of {list(runs)} hold no loss and no figure with a chance; '
            f'name keys among {sorted(known)}'
        )
    if missing := [key for key in keys if key not in known]:
        raise KeyError(f'no run logged {missing}; there are {sorted(known)}')

    columns = min(columns, len(keys))
    num_rows = -(-len(keys) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * num_rows + 0.6), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, columns, squeeze=False).ravel()
    handles = {}
    for axis, key in zip(axes, keys, strict=False):
        for number, (label, own) in enumerate(curves.items()):
            colour = COLOURS[number % len(COLOURS)]
            if seeds := [run[key] for run in own if key in run]:
                handles[label] = _draw(axis, key, seeds, colour, smoothing)
            if chances := [run[f'{key}_chance'] for run in own if f'{key}_chance' in run]:
                handles['chance'] = axis.axhline(
                    chances[0][1][-1], color='0.45', linestyle=':', zorder=1
                )
        axis.set_title(key, fontsize=10)
        axis.set_xlabel('iteration', fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if f'{key}_chance' in known:
            axis.set_ylim(-0.02, 1.02)
    for axis in axes[len(keys) :]:
        axis.set_visible(False)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc='outside lower center',
        ncols=len(handles),
        frameon=False,
    )
    if title:
        figure.suptitle(title)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file


def _paths(own: str | Path | Sequence[str | Path]) -> list:
    return [own] if isinstance(own, (str, Path)) else list(own)


def _draw(axis, key: str, seeds: Sequence, colour: str, smoothing: float):
    if 'loss' in key and smoothing:
        if len(seeds) == 1:
            axis.plot(*seeds[0], color=colour, linewidth=0.6, alpha=0.35)
        seeds = [(steps, smooth(values, smoothing)) for steps, values in seeds]
    steps, values = over_seeds(seeds)
    if len(seeds) > 1:
        axis.fill_between(
            steps, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0
        )
    marker = 'o' if len(steps) <= 30 else None
    return axis.plot(
        steps, values.mean(0), color=colour, linewidth=1.5, marker=marker, markersize=3
    )[0]
