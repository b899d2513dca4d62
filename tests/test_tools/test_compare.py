"""tools/compare.py as a user starts it: killed, started again, looked at."""

import json

import pytest

from helpers.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

EXPERIMENT = """
runs = dict(full='quick.py')
variants = dict(
    noise=dict(of='full', cfg_options={'model.negative_queries.type': 'GaussianNegatives'}))
seeds = [0, 1]
cfg_options = {
    'train_dataloader.batch_size': 32, 'train_cfg.max_epochs': 2, 'param_scheduler.1.end': 2}
tables = [dict(
    title='Table 2', columns={'photos/fine_R@1': 'R@1', 'photos/right_box': 'box'},
    rows=[dict(run='full', paper=[44.3, None]), dict(run='noise')])]
claims = ['full > noise on photos/right_box']
"""
# its catalogue is there already
CONFIG = "_base_ = 'tiny.py'\nsynthetic = None\n"
FIGURE = 'photos/fine_R@1'


def test_a_killed_comparison_goes_on_and_a_finished_one_is_only_shown(workplace):
    experiment = workplace.folder / 'experiment.py'
    experiment.write_text(EXPERIMENT)
    (workplace.folder / 'quick.py').write_text(CONFIG)
    work_dir = workplace.folder / 'comparison'
    tool = workplace.root / 'tools/compare.py'
    args = (tool, experiment, '--work-dir', work_dir, '--jobs', '2')
    run = workplace.start('compare_killed', *args)
    try:
        wait_until(lambda: list(work_dir.glob('*/seed*/last_checkpoint')), seconds=600)
    finally:
        run.kill()  # -9: it cannot end its trainings itself
        run.wait()
    done = {path.parent for path in work_dir.glob('*/seed*/metrics.json')}
    begun = {path.parent for path in work_dir.glob('*/seed*/last_checkpoint')} - done
    assert begun

    report = workplace.folder / 'report.md'
    log = workplace.run('compare', *args, '--report', report)
    for folder in begun:
        text = (folder / 'log.txt').read_text()
        assert 'resumed epoch: ' in text and text.count('Epoch(train) [1][1/2]') == 1, folder
    metrics = {
        path: json.loads(path.read_text()) for path in work_dir.glob('*/seed*/metrics.json')
    }
    assert len(metrics) == 4
    assert all(FIGURE in each['figures'] for each in metrics.values())
    for seed in (0, 1):
        checkpoints = list((work_dir / f'full/seed{seed}').glob('*.pth'))
        assert [path.name for path in checkpoints] == ['epoch_2.pth']
    assert not list((work_dir / 'noise').rglob('*.pth'))

    summary = json.loads((work_dir / 'summary.json').read_text())
    values = [summary['runs']['full']['seeds'][seed][FIGURE] for seed in '01']
    assert summary['runs']['full']['statistics'][FIGURE]['mean'] == pytest.approx(sum(values) / 2)
    table = (work_dir / 'table.md').read_text()
    assert table in log and '44.3' in table and '`full > noise on photos/right_box`' in table
    assert 'tools/compare.py' in report.read_text() and '## Table 2' in report.read_text()
    assert (work_dir / 'ablation_bars.png').stat().st_size > 1000

    before = {path: path.stat().st_mtime_ns for path in metrics}
    log = workplace.run('compare_again', *args)
    assert '0 jobs' in log and '4 are finished' in log
    assert before == {path: path.stat().st_mtime_ns for path in metrics}

    # a figure that does not exist, and a training that would differ: nothing is run
    unknown = EXPERIMENT.replace('fine_R@1', 'fine_R@2')
    changed = EXPERIMENT.replace("': 32", "': 16")
    for name, text, words in (
        ('unknown', unknown, ("'photos/fine_R@2'; did you mean 'photos/fine_R@",)),
        ('changed', changed, ('train_dataloader.batch_size: 32 -> 16', 'full/seed0')),
    ):
        experiment.write_text(text)
        log = workplace.wait(name, workplace.start(name, *args), expected=1)
        assert all(word in log for word in words), log[-2000:]
    assert before == {path: path.stat().st_mtime_ns for path in metrics}
