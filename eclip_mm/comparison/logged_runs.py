"""Comparison of finished trainings by their logs: means over seeds, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eclip_mm.comparison.statistics import Estimate, mean_interval, paired_difference
from eclip_mm.utils.config_text import parse_config_text
from eclip_mm.utils.text_table import format_table
from eclip_mm.visualization.curves import find_scalars, load_curves, read_rows


@dataclass(frozen=True)
class LoggedRun:
    """One training.

    Attributes:
        path: work_dir or scalars.json.
        seed: seed in its config; None if there is none.
        epochs, iterations: the last ones logged.
        evaluated: iteration of the last figures.
        figures: key -> last value.
    """

    path: str
    seed: int | None
    epochs: int
    iterations: int
    evaluated: int
    figures: dict[str, float]


def read_run(path: str | Path, keys: Sequence[str]) -> LoggedRun:
    """Read the last figures and the length of a training.

    Args:
        path: work_dir, or ``scalars.json`` with ``config.py`` beside it.
        keys: logged scalars.

    Raises:
        FileNotFoundError: there is no log.
        KeyError: the log has no values of a key.
    """
    curves = load_curves(path)
    if missing := [key for key in keys if key not in curves]:
        raise KeyError(f'{path}: logged no {missing}; there are {sorted(curves)}')
    files = find_scalars(path)
    return LoggedRun(
        path=str(path),
        seed=_seed(files[-1].with_name('config.py')),
        epochs=max(int(row.get('epoch', 0)) for file in files for row in read_rows(file)),
        iterations=max(int(steps[-1]) for steps, _ in curves.values()),
        evaluated=min(int(curves[key][0][-1]) for key in keys),
        figures={key: float(curves[key][1][-1]) for key in keys},
    )


def _seed(config: Path) -> int | None:
    if not config.is_file():
        return None
    randomness = parse_config_text(config.read_text(encoding='utf-8'), str(config))
    return (randomness.get('randomness') or {}).get('seed')


class LoggedComparison:
    """Comparison of labels, each with a run per seed, to the first label.

    Args:
        runs: label -> work_dirs.
        keys: logged scalars to compare.

    Raises:
        ValueError: two runs of a label have the same seed.
        FileNotFoundError, KeyError: as in :func:`read_run`.
    """

    def __init__(self, runs: Mapping[str, Sequence[str | Path]], keys: Sequence[str]):
        self.keys = list(keys)
        self.runs = {
            label: [read_run(path, keys) for path in paths] for label, paths in runs.items()
        }
        #: pair runs by their order on the command line, as some run has no seed
        self.by_place = any(run.seed is None for own in self.runs.values() for run in own)
        for label, own in self.runs.items():
            seeds = [run.seed for run in own]
            if not self.by_place and len(set(seeds)) < len(seeds):
                raise ValueError(f'{label}: runs of seeds {seeds}; each seed counts once')

    def by_seed(self, label: str, key: str) -> dict[int, float]:
        """Return seed (or position) -> last value."""
        return {
            place if self.by_place else run.seed: run.figures[key]
            for place, run in enumerate(self.runs[label])
        }

    def estimate(self, label: str, key: str) -> Estimate:
        """Return the mean over seeds with its interval."""
        return mean_interval(list(self.by_seed(label, key).values()))

    def difference(self, label: str, key: str) -> Estimate | None:
        """Return the paired difference to the first label.

        It is None for the first label itself and without a common seed.
        """
        first = next(iter(self.runs))
        if label == first:
            return None
        return paired_difference(self.by_seed(label, key), self.by_seed(first, key))

    def warnings(self) -> list[str]:
        """List the reasons for which figures cannot be compared, as sentences."""
        found = []
        lengths = {(run.epochs, run.iterations) for own in self.runs.values() for run in own}
        if len(lengths) > 1:
            shown = '; '.join(f'{label} {self._length(label)}' for label in self.runs)
            found.append(f'trainings differ in length (last epoch and iteration logged): {shown}.')
        for own in self.runs.values():
            found += [
                f'{run.path}: last evaluated at iteration {run.evaluated} of {run.iterations}.'
                for run in own
                if run.evaluated < run.iterations
            ]
        seeds = {label: sorted(self.by_seed(label, self.keys[0])) for label in self.runs}
        if len(set(map(tuple, seeds.values()))) > 1:
            shown = '; '.join(f'{label} {own}' for label, own in seeds.items())
            found.append(f'seeds differ, so differences are over common seeds: {shown}.')
        if self.by_place:
            found.append('a run has no seed in its config.py, so runs are paired in their order.')
        return found

    def _length(self, label: str) -> str:
        lengths = sorted({(run.epochs, run.iterations) for run in self.runs[label]})
        return ' and '.join(f'{epochs}/{iterations}' for epochs, iterations in lengths)

    def table(self, markdown: bool = False) -> str:
        """Format means and differences to the first label, with 95% intervals.

        Args:
            markdown: as in :func:`format_table`.
        """
        first = next(iter(self.runs))
        header = ['', 'seeds', 'epochs/iterations']
        for key in self.keys:
            header += [key, f'difference to {first}'] if len(self.runs) > 1 else [key]
        rows = []
        for label, own in self.runs.items():
            rows.append([label, len(own), self._length(label)])
            for key in self.keys:
                rows[-1].append(show(self.estimate(label, key)))
                if len(self.runs) > 1:
                    rows[-1].append(show(self.difference(label, key), '+'))
        return format_table(header, rows, markdown)

    def summary(self) -> dict:
        """Return everything as plain values for JSON."""
        labels = {}
        for label, own in self.runs.items():
            differences = {key: self.difference(label, key) for key in self.keys}
            labels[label] = dict(
                runs=[vars(run) for run in own],
                statistics={key: self.estimate(label, key)._asdict() for key in self.keys},
                difference={key: each and each._asdict() for key, each in differences.items()},
            )
        return dict(labels=labels, warnings=self.warnings())


def show(estimate: Estimate | None, sign: str = '') -> str:
    """Format ``0.512 [0.490, 0.534]``; a single seed has no interval, None gives ``-``."""
    if estimate is None:
        return '-'
    text = f'{estimate.mean:{sign}.3f}'
    if estimate.low is None:
        return text
    return f'{text} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]'
