"""Plan of the jobs that an experiment still needs."""

import json
from pathlib import Path

from eclip_mm.comparison.experiment import Experiment
from eclip_mm.comparison.frozen import RECORD, changed_keys, freeze, write_record
from eclip_mm.comparison.job import METRICS_FILE, read_metrics
from eclip_mm.comparison.runs import UNTRAINED, Run, choose
from eclip_mm.comparison.scheduler import Job


def seed_folder(work_dir: Path, name: str, seed: int) -> Path:
    """Return the folder of all output of one training or variant with one seed."""
    return work_dir / name / f'seed{seed}'


def plan_jobs(
    experiment: Experiment, work_dir: Path, only=None, retest: bool = False
) -> tuple[list[Job], int]:
    """List the unfinished jobs and write their configs.

    The jobs are ordered by seed: the first seed of every run comes before any
    second seed, so that a table with all rows exists as early as possible. The
    configs are written now, so editing a config file while others train has no
    effect.

    Args:
        experiment: the experiment.
        work_dir: folder of all runs.
        only: names of runs and variants; the run of a variant is included.
        retest: evaluate finished trainings again.

    Returns:
        Jobs in order, and the number of finished jobs.

    Raises:
        ValueError: a run was started with another config.
    """
    names = set(only or experiment.runs)
    names |= {experiment.runs[name].of for name in names} - {None}
    runs = [run for name, run in experiment.runs.items() if name in names]
    todo = [(run, seed) for seed in experiment.seeds for run in runs]
    frozen = {(run.name, seed): freeze(run, seed) for run, seed in todo}
    for run, seed in todo:  # check all of them before writing anything
        if run.of is None:
            _check_unchanged(seed_folder(work_dir, run.name, seed), frozen[run.name, seed])
    jobs, fresh = [], set()
    for run, seed in todo:
        folder, cfg = seed_folder(work_dir, run.name, seed), frozen[run.name, seed]
        source = seed_folder(work_dir, run.of, seed) if run.of else None
        if not retest and source not in fresh and is_finished(folder, cfg, source):
            continue
        jobs.append(_job(run, seed, folder, source, source if source in fresh else None))
        (folder / METRICS_FILE).unlink(missing_ok=True)
        write_record(cfg, folder)
        fresh.add(folder)
    return jobs, len(todo) - len(jobs)


def _job(run: Run, seed: int, folder: Path, source: Path | None, needs: Path | None) -> Job:
    args = ('--checkpoint-of', str(source)) if source else ()
    again = (folder / METRICS_FILE).exists()
    name = f'{run.name} seed {seed}' + ' (evaluation again)' * again
    return Job(name, 'test' if source or again else 'train', folder, args, needs)


def _check_unchanged(folder: Path, cfg) -> None:
    if not (folder / RECORD).exists():
        return
    lines, _ = changed_keys(folder, cfg)
    if lines:
        shown = '\n'.join(f'    {line}' for line in lines[:10])
        raise ValueError(
            f'{folder} was trained with another config (old -> new):\n{shown}\n'
            'Remove the folder to train again, or choose another --work-dir'
        )


def is_finished(folder: Path, cfg, source: Path | None) -> bool:
    """Tell whether a job has figures and nothing that they depend on has changed since."""
    metrics = read_metrics(folder)
    if metrics is None:
        return False
    lines, evaluation_changed = changed_keys(folder, cfg)
    if lines or evaluation_changed:  # a run's lines were checked before, a variant's were not
        return False
    if source is None:
        return True
    trained = read_metrics(source)
    return trained is not None and trained['trained'] == metrics['trained']


def rehearsals(experiment: Experiment, work_dir: Path) -> list[Job]:
    """Plan a test of untrained weights for every evaluation that has no figures yet.

    The names of an evaluation's figures are known only after it has run. These
    tests find out before the training whether a figure does not exist.
    """
    first: dict[str, Run] = {}
    for run in experiment.runs.values():
        parts = {key: run.cfg.get(key) for key in ('test_dataloader', 'test_evaluator')}
        first.setdefault(repr(parts), run)
    jobs = []
    for run in first.values():
        folder = work_dir / UNTRAINED / run.name
        cfg = freeze(run, experiment.seeds[0])
        if not is_finished(folder, cfg, None):
            (folder / METRICS_FILE).unlink(missing_ok=True)
            write_record(cfg, folder)
            jobs.append(Job(f'{UNTRAINED} {run.name}', 'test', folder, ('--untrained',)))
    return jobs


def check_figures(experiment: Experiment, work_dir: Path) -> None:
    """Check that evaluations give all figures of tables, claims and bars.

    Raises:
        KeyError: no evaluation has a figure; the message lists the choices.
    """
    known: set[str] = set()
    for path in (work_dir / UNTRAINED).glob(f'*/{METRICS_FILE}'):
        known |= set(json.loads(path.read_text())['figures'])
    for key in experiment.figures:
        rates = {name for name in known if f'{name}_chance' in known}
        choose(key, rates or known, f'{experiment.path}: figure')
