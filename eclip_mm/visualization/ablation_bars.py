"""Figures of several runs as bars with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eclip_mm.visualization.curves import COLOURS


def plot_ablation_bars(
    figures: Mapping[str, Mapping[str, tuple]],
    out_file: str | Path,
    chances: Mapping[str, float] | None = None,
    columns: int = 3,
    title: str = '',
) -> Path:
    """Draw one panel per figure and one bar per run, as a PNG.

    Args:
        figures: figure -> run -> (mean, low, high) in [0, 1]; low and high are
            None if there is no interval.
        out_file: picture to write; missing folders are created.
        chances: figure -> chance, drawn as a dotted line.
        columns: number of panels side by side.
        title: heading.

    Returns:
        ``out_file``.

    Raises:
        ValueError: there is no figure, or a figure has no run.
    """
    runs = list(dict.fromkeys(run for bars in figures.values() for run in bars))
    if not runs or not all(figures.values()):
        empty = [key for key, bars in figures.items() if not bars]
        raise ValueError(f'no bars to draw: {empty or "no figures"} without runs')
    chances, columns = chances or {}, min(columns, len(figures))
    num_rows = -(-len(figures) // columns)
    figure = Figure(
        figsize=(3.4 * columns + 1.6, num_rows * (0.27 * len(runs) + 0.8) + 0.6),
        layout='constrained',
    )
    # keep the last tick label of a panel and the first one of the next apart
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, columns, squeeze=False, sharey=True).ravel()
    line = None
    for axis, (key, bars) in zip(axes, figures.items(), strict=False):
        _draw_panel(axis, runs, bars)
        if key in chances:
            line = axis.axvline(100 * chances[key], color='0.25', linestyle=':', zorder=3)
        axis.set_title(key, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3, axis='x')
        axis.set_axisbelow(True)
    for axis in axes[len(figures) :]:
        axis.set_visible(False)
    figure.supxlabel('percent; lines at the bars: 95% interval of the mean over seeds', fontsize=8)
    if line is not None:
        figure.legend([line], ['chance'], loc='outside upper right', frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    out_file = Path(out_file)
    out_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file, dpi=110)
    return out_file


def _draw_panel(axis, runs: Sequence[str], bars: Mapping[str, tuple]) -> None:
    for place, run in enumerate(runs):
        if run not in bars:
            axis.text(0, place, ' missing', va='center', fontsize=7, color='0.5')
            continue
        mean, low, high = (None if end is None else 100 * end for end in bars[run])
        axis.barh(place, mean, height=0.7, color=COLOURS[0], alpha=0.75)
        if low is not None:
            reach = [[mean - low], [high - mean]]
            axis.errorbar(mean, place, xerr=reach, color='black', capsize=2.5, linewidth=1)
    axis.set_yticks(range(len(runs)), runs)
    axis.set_ylim(len(runs) - 0.4, -0.6)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
