"""Experiment files: their content, and errors for every bad name before anything runs."""

from pathlib import Path

import pytest

from eclip_mm.comparison.experiment import load_experiment
from eclip_mm.comparison.frozen import changed_keys, freeze, write_record
from helpers.experiment import GOOD, write_experiment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def experiment(tmp_path):
    return load_experiment(write_experiment(tmp_path))


def test_options_of_all_and_of_one_reach_the_configs(experiment):
    assert list(experiment.runs) == ['eclip', 'clip', 'noise'] and experiment.seeds == [3, 4]
    assert {run.cfg.train_cfg.max_epochs for run in experiment.runs.values()} == {2}
    momentum = {name: run.cfg.model.momentum.momentum for name, run in experiment.runs.items()}
    assert momentum == dict(eclip=0.99, clip=0.9, noise=0.99)
    noise = experiment.runs['noise']
    assert noise.of == 'eclip' and noise.cfg.model.negative_queries.type == 'GaussianNegatives'
    assert experiment.figures == ['photos/fine_R@1', 'photos/right_box']
    assert experiment.labels() == dict(eclip='ours', clip='clip', noise='noise')
    assert experiment.tables[0].rows[1].paper == (None,)


def test_runs_with_one_label_get_different_ones(tmp_path):
    rows = [dict(run='eclip', label='ours'), dict(run='noise', label='ours'), dict(run='clip')]
    experiment = load_experiment(write_experiment(tmp_path, tables=table(rows=rows)))
    labels = {'eclip': 'ours (eclip)', 'noise': 'ours (noise)', 'clip': 'clip'}
    assert experiment.labels() == labels


def table(**changes):
    return [dict(GOOD['tables'][0], **changes)]


@pytest.mark.parametrize(
    'changes, error, words',
    [
        (dict(tabels=[]), KeyError, ["'tabels'", "'tables'"]),
        (dict(runs={}), ValueError, ['runs is empty']),
        (dict(seeds=[1, 1]), ValueError, ['seeds', '[1, 1]']),
        (dict(runs=dict(eclip='no.py')), FileNotFoundError, ["'eclip'", 'no.py']),
        (dict(runs={'a/b': GOOD['runs']['eclip']}, variants={}), ValueError, ["'a/b'", 'folder']),
        (dict(variants=dict(x=dict(of='eclp', cfg_options={}))), KeyError, ["'eclp'", "'eclip'"]),
        (dict(variants=dict(clip=dict(of='eclip', cfg_options={}))), ValueError, ["'clip'"]),
        (dict(cfg_options={'optim_wrapper.optim.lr': 1}), KeyError, ["'eclip'", "'optim'"]),
        (dict(tables=table(rows=[dict(run='albef')])), KeyError, ["'T'", "'albef'", "'noise'"]),
        (
            dict(tables=table(rows=[dict(run='clip', paper=[1, 2])])),
            ValueError,
            ["'clip'", '2 figures for 1'],
        ),
        (dict(tables=[dict(title='T', rows=[])]), KeyError, ["['columns']"]),
        (dict(claims=['eclip > clop on x']), KeyError, ["'clop'", "'clip'"]),
        (dict(bars=dict(runs=['clop'])), KeyError, ["'clop'", "'clip'"]),
        (dict(notes='no.md'), FileNotFoundError, ['notes', 'no.md']),
        (dict(evaluation='no.py'), FileNotFoundError, ['evaluation', 'no.py']),
    ],
)
def test_bad_names_are_named_with_the_choices(tmp_path, changes, error, words):
    with pytest.raises(error) as caught:
        load_experiment(write_experiment(tmp_path, **changes))
    for word in [*words, 'experiment.py']:
        assert word in str(caught.value)


def test_runs_with_other_steps_are_an_error(tmp_path):
    runs = dict(GOOD['runs'])
    runs['clip'] = dict(config=runs['eclip'], cfg_options={'train_cfg.max_epochs': 9})
    with pytest.raises(
        ValueError, match="'eclip' and 'clip' differ in train_cfg.*'max_epochs': 9"
    ):
        load_experiment(write_experiment(tmp_path, runs=runs))


def test_an_evaluation_config_replaces_test_set_and_metrics(tmp_path):
    path = ROOT / 'configs/evaluation/synthetic.py'
    runs = load_experiment(write_experiment(tmp_path, evaluation=str(path))).runs
    for run in runs.values():
        assert {m.type for m in run.cfg.test_evaluator} > {'ZeroShotClassification'}
        pipelines = [part.pipeline for part in run.cfg.test_dataloader.dataset.datasets]
        assert all(pipeline == run.cfg.test_pipeline for pipeline in pipelines)
    assert runs['eclip'].cfg.model != runs['clip'].cfg.model
    with pytest.raises(ValueError, match='has a model'):
        load_experiment(write_experiment(tmp_path, evaluation=GOOD['runs']['eclip']))


def test_a_frozen_config_has_its_seed_and_no_validation(experiment):
    run = experiment.runs['eclip']
    cfg = freeze(run, 4)
    assert cfg.randomness.seed == 4 and run.cfg.randomness.seed == 0
    assert cfg.val_dataloader is cfg.val_evaluator is cfg.val_cfg is None
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 1
    assert cfg.default_hooks.checkpoint.save_best is None
    assert cfg.synthetic == run.cfg.synthetic and cfg.test_dataloader == run.cfg.test_dataloader


def test_changes_of_training_and_evaluation_are_found(experiment, tmp_path):
    cfg = freeze(experiment.runs['eclip'], 0)
    write_record(cfg, tmp_path)
    assert changed_keys(tmp_path, cfg) == ([], False)
    cfg.log_level, cfg.work_dir = 'ERROR', 'elsewhere'
    cfg.custom_hooks = [dict(type='PictureHook')]
    assert changed_keys(tmp_path, cfg) == ([], False)
    cfg.test_evaluator[0].topk = (1,)
    cfg.default_hooks.evaluation_hook_0 = dict(type='ClassPromptHook')
    assert changed_keys(tmp_path, cfg) == ([], True)
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.synthetic.seed = 1
    cfg.custom_hooks.append(dict(type='EMAHook'))
    lines, _ = changed_keys(tmp_path, cfg)
    assert lines == [
        "custom_hooks.0.type: '(missing)' -> 'EMAHook'",
        'optim_wrapper.optimizer.lr: 0.001 -> 0.002',
        'synthetic.seed: 0 -> 1',
    ]


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/comparison').glob('*.py')))
def test_the_experiments_of_the_project_are_valid(path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))  # as tools/compare.py does, for projects/
    experiment = load_experiment(path)
    assert len(experiment.seeds) >= 3 and experiment.tables and experiment.claims
    rows = {row.run for table in experiment.tables for row in table.rows}
    assert set(experiment.runs) == rows - {None}
