"""Jobs that are left to do after earlier jobs."""

import json

import pytest

from eclip_mm.comparison.experiment import load_experiment
from eclip_mm.comparison.plan import check_figures, plan_jobs, rehearsals, seed_folder
from helpers.experiment import write_experiment


def finish(work_dir, name, seed, trained=1.0, **figures):
    folder = seed_folder(work_dir, name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = dict(figures=figures, checkpoint='epoch_1.pth', trained=trained, seconds=1.0)
    (folder / 'metrics.json').write_text(json.dumps(metrics))


def names(jobs):
    return [job.name for job in jobs]


@pytest.fixture
def experiment(tmp_path):
    return load_experiment(write_experiment(tmp_path))


def test_each_run_and_seed_is_a_job_and_variants_wait(experiment, tmp_path):
    jobs, finished = plan_jobs(experiment, tmp_path)
    order = ['eclip', 'clip', 'noise']
    assert names(jobs) == [f'{name} seed {seed}' for seed in (3, 4) for name in order]
    assert finished == 0
    eclip, _, noise = jobs[:3]
    assert noise.needs == eclip.folder and noise.args == ('--checkpoint-of', str(eclip.folder))
    assert eclip.needs is None and eclip.args == ()
    frozen = [(job.folder / 'frozen_config.py').read_text() for job in (eclip, jobs[3])]
    assert 'seed=3)' in frozen[0] and 'seed=4)' in frozen[1]


def test_finished_jobs_are_skipped_until_their_evaluation_changes(experiment, tmp_path):
    plan_jobs(experiment, tmp_path)
    for name in experiment.runs:
        finish(tmp_path, name, 3)
    jobs, finished = plan_jobs(experiment, tmp_path)
    assert names(jobs) == ['eclip seed 4', 'clip seed 4', 'noise seed 4'] and finished == 3

    options = {'test_evaluator.0.topk': [1]}
    common = {'train_cfg.max_epochs': 2, 'param_scheduler.1.end': 2}
    changed = load_experiment(write_experiment(tmp_path, cfg_options={**common, **options}))
    jobs, _ = plan_jobs(changed, tmp_path)
    assert names(jobs)[0] == 'eclip seed 3 (evaluation again)' and len(jobs) == 6


def test_a_variant_of_an_older_training_is_tested_again(experiment, tmp_path):
    plan_jobs(experiment, tmp_path)
    for name, trained in dict(eclip=2.0, clip=1.0, noise=1.0).items():
        finish(tmp_path, name, 3, trained)
    jobs, _ = plan_jobs(experiment, tmp_path)
    assert names(jobs)[0] == 'noise seed 3 (evaluation again)' and jobs[0].needs is None


def test_retest_and_only(experiment, tmp_path):
    jobs, _ = plan_jobs(experiment, tmp_path, only=['noise'])
    assert names(jobs) == ['eclip seed 3', 'noise seed 3', 'eclip seed 4', 'noise seed 4']
    for name in experiment.runs:
        finish(tmp_path, name, 3)
        finish(tmp_path, name, 4)
    jobs, _ = plan_jobs(experiment, tmp_path, only=['eclip'], retest=True)
    assert names(jobs) == ['eclip seed 3 (evaluation again)', 'eclip seed 4 (evaluation again)']


def test_another_training_config_is_an_error_that_names_the_key(experiment, tmp_path):
    plan_jobs(experiment, tmp_path)
    changed = load_experiment(
        write_experiment(tmp_path, cfg_options={'optim_wrapper.optimizer.lr': 5e-4})
    )
    with pytest.raises(ValueError) as caught:
        plan_jobs(changed, tmp_path)
    for word in ('eclip/seed3', 'optim_wrapper.optimizer.lr: 0.001 -> 0.0005', '--work-dir'):
        assert word in str(caught.value)


def test_figures_are_rehearsed_once_and_checked(experiment, tmp_path):
    (job,) = rehearsals(experiment, tmp_path)
    assert job.args == ('--untrained',) and job.folder == tmp_path / 'untrained/eclip'
    figures = {'photos/right_box': 0.3, 'photos/right_box_chance': 0.3, 'photos/num': 5.0}
    known = dict(figures=figures, trained=None)
    (job.folder / 'metrics.json').write_text(json.dumps(known))
    assert rehearsals(experiment, tmp_path) == []
    with pytest.raises(KeyError, match="no 'photos/fine_R@1'.*photos/right_box"):
        check_figures(experiment, tmp_path)
    figures.update({'photos/fine_R@1': 0.1, 'photos/fine_R@1_chance': 0.1})
    (job.folder / 'metrics.json').write_text(json.dumps(known))
    check_figures(experiment, tmp_path)
