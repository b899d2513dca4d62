"""The figures of an experiment and their statistics."""

from dataclasses import dataclass
from pathlib import Path

from eclip_mm.comparison.claims import judge
from eclip_mm.comparison.experiment import Experiment
from eclip_mm.comparison.frozen import freeze
from eclip_mm.comparison.job import read_metrics
from eclip_mm.comparison.plan import is_finished, seed_folder
from eclip_mm.comparison.statistics import Estimate, mean_interval


@dataclass(frozen=True)
class Results:
    """The figures of the finished jobs.

    Attributes:
        experiment: the experiment.
        figures: name -> seed -> key -> value.
        failed: name -> seeds whose job failed.
    """

    experiment: Experiment
    figures: dict[str, dict[int, dict[str, float]]]
    failed: dict[str, list[int]]

    @classmethod
    def collect(cls, experiment: Experiment, work_dir: Path, failed_folders=()) -> 'Results':
        """Read every ``metrics.json`` that was measured with the experiment's current configs."""
        figures: dict = {name: {} for name in experiment.runs}
        failed: dict = {name: [] for name in experiment.runs}
        for name, run in experiment.runs.items():
            for seed in experiment.seeds:
                folder = seed_folder(work_dir, name, seed)
                source = seed_folder(work_dir, run.of, seed) if run.of else None
                metrics = read_metrics(folder)
                if metrics and is_finished(folder, freeze(run, seed), source):
                    figures[name][seed] = metrics['figures']
                elif folder in failed_folders:
                    failed[name].append(seed)
        return cls(experiment, figures, failed)

    def by_seed(self, name: str, key: str) -> dict[int, float]:
        """Return seed -> figure for the seeds that have the figure."""
        return {seed: each[key] for seed, each in self.figures[name].items() if key in each}

    def estimate(self, name: str, key: str) -> Estimate | None:
        """Return the mean over seeds with its interval; None without figures."""
        values = self.by_seed(name, key)
        return mean_interval(list(values.values())) if values else None

    def chance(self, name: str, key: str) -> float | None:
        """Return the mean chance over seeds; None if the figure has none."""
        estimate = self.estimate(name, f'{key}_chance')
        return estimate.mean if estimate else None

    def chances(self, key: str, names) -> tuple[float, float] | None:
        """Return the smallest and largest chance among runs; test sets may differ."""
        values = [self.chance(name, key) for name in names]
        values = [value for value in values if value is not None]
        return (min(values), max(values)) if values else None

    def verdicts(self) -> list[dict]:
        """Return every claim with its verdict and the paired difference."""
        verdicts = []
        for claim in self.experiment.claims:
            ours = self.by_seed(claim.ours, claim.figure)
            theirs = self.by_seed(claim.theirs, claim.figure)
            verdict, difference = judge(claim, ours, theirs)
            verdicts.append(
                dict(
                    claim=claim.text,
                    paper=claim.paper,
                    verdict=verdict,
                    difference=difference and difference._asdict(),
                )
            )
        return verdicts

    def summary(self) -> dict:
        """Return everything as plain values for JSON.

        Returns:
            ``seeds``; ``runs``: name -> ``seeds`` (seed -> figures),
            ``failed`` seeds and ``statistics`` (key -> mean, low, high, n) of
            every figure; ``tables`` with the paper's figures in percent;
            ``claims`` with verdict and paired difference.
        """
        runs = {}
        for name, seeds in self.figures.items():
            keys = dict.fromkeys(key for figures in seeds.values() for key in figures)
            runs[name] = dict(
                seeds={str(seed): figures for seed, figures in seeds.items()},
                failed=self.failed[name],
                statistics={key: self.estimate(name, key)._asdict() for key in keys},
            )
        tables = [
            dict(
                title=table.title,
                columns=[dict(figure=key, label=label) for key, label in table.columns],
                rows=[
                    dict(run=row.run, label=row.label, paper=list(row.paper)) for row in table.rows
                ],
            )
            for table in self.experiment.tables
        ]
        return dict(
            title=self.experiment.title,
            seeds=self.experiment.seeds,
            runs=runs,
            tables=tables,
            claims=self.verdicts(),
        )
