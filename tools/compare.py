"""Train and compare a named set of configs on one catalogue, over several seeds.

    python tools/compare.py configs/comparison/tiny.py --jobs 2

The same command resumes an interrupted comparison. Ctrl-C loses only the
current epoch.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for configs that import projects/

from eclip_mm.utils.command import CommandParser, run_command
from eclip_mm.utils.files import write_whole_text


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('experiment', nargs='+', help='experiment files, see configs/comparison')
    parser.add_argument(
        '--work-dir',
        help='folder of the results, with a folder in it for each of several experiments; '
        'default: work_dirs/{name of the experiment}',
    )
    parser.add_argument(
        '--jobs', type=int, help='trainings at a time; default: one per GPU, or one per core'
    )
    parser.add_argument('--seeds', type=int, nargs='+', help="seeds that replace the experiment's")
    parser.add_argument('--only', nargs='+', metavar='NAME', help='only these runs and variants')
    parser.add_argument('--retest', action='store_true', help='evaluate finished trainings again')
    parser.add_argument('--tables-only', action='store_true', help='write tables and run nothing')
    parser.add_argument('--report', type=Path, help='Markdown page to write, such as docs/x.md')
    return parser.parse_args()


def run_missing(experiment, work_dir: Path, args) -> list[Path]:
    """Train and test what is missing, and return the folders of failed jobs."""
    from eclip_mm.comparison.plan import check_figures, plan_jobs, rehearsals
    from eclip_mm.comparison.results import Results
    from eclip_mm.comparison.runs import choose
    from eclip_mm.comparison.scheduler import Scheduler, visible_gpus
    from eclip_mm.datasets.synthetic import prepare_catalogue
    from eclip_mm.utils.cpus import num_cpus

    for name in args.only or ():
        choose(name, experiment.runs, '--only')
    for run in experiment.runs.values():
        prepare_catalogue(run.cfg)
    num_workers = args.jobs or len(visible_gpus()) or num_cpus()
    scheduler = Scheduler(num_workers, say=lambda line: print(line, flush=True))
    if failed := scheduler.run(rehearsals(experiment, work_dir)):
        raise SystemExit(f'{len(failed)} of the evaluations cannot run; nothing was trained')
    check_figures(experiment, work_dir)
    jobs, finished = plan_jobs(experiment, work_dir, args.only, args.retest)
    print(f'{len(jobs)} jobs, {num_workers} at a time; {finished} are finished', flush=True)

    def update(job):
        write_results(Results.collect(experiment, work_dir), work_dir)

    return [job.folder for job in scheduler.run(jobs, update)]


def write_results(results, work_dir: Path) -> None:
    """Write ``table.md`` and ``summary.json``, each atomically."""
    from eclip_mm.comparison.report import write_tables

    texts = {
        'table.md': write_tables(results),
        'summary.json': json.dumps(results.summary(), indent=2),
    }
    for name, text in texts.items():
        write_whole_text(work_dir / name, text)


def draw_bars(results, work_dir: Path) -> None:
    """Draw the bars of all figures for which a run has values."""
    from eclip_mm.visualization.ablation_bars import plot_ablation_bars

    experiment, figures, chances = results.experiment, {}, {}
    keys, names = experiment.bars
    labels = experiment.labels()
    for key in keys:
        bars = {labels[name]: results.estimate(name, key) for name in names}
        bars = {label: bar[:3] for label, bar in bars.items() if bar is not None}
        if bars:
            figures[key] = bars
            if chance := results.chances(key, names):
                chances[key] = chance[0]
    if figures:
        path = work_dir / 'ablation_bars.png'
        print('picture:', plot_ablation_bars(figures, path, chances, title=experiment.title))


def run_experiment(experiment, args) -> tuple:
    """Run what is missing of one experiment and write its tables.

    Returns:
        The figures, and the folders of failed jobs.
    """
    from eclip_mm.comparison.results import Results

    work_dir = Path(args.work_dir or 'work_dirs')
    if args.work_dir is None or len(args.experiment) > 1:
        work_dir /= experiment.path.stem
    failed = [] if args.tables_only else run_missing(experiment, work_dir, args)
    results = Results.collect(experiment, work_dir, failed)
    work_dir.mkdir(parents=True, exist_ok=True)
    write_results(results, work_dir)
    draw_bars(results, work_dir)
    print('\n' + (work_dir / 'table.md').read_text(encoding='utf-8'))
    return results, failed


def main():
    args = parse_args()
    from eclip_mm.comparison.experiment import load_experiment
    from eclip_mm.comparison.report import write_report

    # all are checked before the first is run
    experiments = [load_experiment(path, args.seeds) for path in args.experiment]
    results, failed = [], []
    for experiment in experiments:
        found, failures = run_experiment(experiment, args)
        results.append(found)
        failed += failures
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        command = f'python tools/compare.py {shlex.join(sys.argv[1:])}'
        write_whole_text(args.report, write_report(results, command))
    if failed:
        raise SystemExit(f'{len(failed)} jobs failed: {", ".join(map(str, failed))}')


if __name__ == '__main__':
    run_command(main, interrupted='interrupted; the same command resumes from here')
