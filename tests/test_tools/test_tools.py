"""tools/train.py, tools/test.py and their distributed scripts, started as a user does."""

import json

import pytest
import torch

from helpers.figures import METRICS, assert_same_figures, figures, logged, validation
from helpers.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('runs')]


def test_test_prints_the_metrics_that_training_saw(workplace, trained):
    folder = workplace.folder / 'test'
    text = workplace.run(
        'test',
        workplace.root / 'tools/test.py',
        workplace.config,
        trained / 'iter_16.pth',
        '--work-dir',
        folder,
    )
    assert_same_figures(figures(folder), validation(trained))
    for split in ('photos', 'products'):
        for metric in METRICS:
            assert f'{split}/{metric}: ' in text


def test_an_evaluation_config_needs_only_checkpoint_and_catalogue(workplace, trained):
    """Model, pipeline and tokenizer come from the checkpoint; the figures are the training's."""
    folder = workplace.folder / 'tables'
    text = workplace.run(
        'tables',
        workplace.root / 'tools/test.py',
        workplace.root / 'configs/evaluation/tables.py',
        trained / 'iter_16.pth',
        '--catalogue',
        workplace.data / 'photos.parquet',
        '--work-dir',
        folder,
        '--cfg-options',
        "test_dataloader.dataset.datasets.0.sources=['comment','video']",
    )
    ours, theirs = json.loads((folder / 'metrics.json').read_text()), validation(trained)
    for key, name in (
        ('table1/i2t_R@1', 'i2t_R@1'),
        ('table2/fine_R@1', 'fine_R@1'),
        ('table4/right_box', 'right_box'),
    ):
        assert ours[key] == theirs[f'photos/{name}']
        assert ours[f'{key}_low'] <= ours[key] <= ours[f'{key}_high']
    table = (folder / 'table.md').read_text()
    figures = [key for key in ours if f'{key}_chance' in ours]
    assert {'table1/category_top1', 'table1/product_top1', 'table2/m5_mAP@5'} <= set(figures)
    for key in figures:  # each with interval and chance, on the screen and in the file
        assert f'{key} ' in text and f'| {key} ' in table
        assert f'{ours[key]:.3f} [{ours[f"{key}_low"]:.3f}, ' in table
    assert 'value [95% interval]' in text and 'chance' in text


def test_training_logs_losses_accuracies_and_slot_health(trained):
    steps = [row for row in logged(trained) if 'loss' in row]
    assert [row['step'] for row in steps] == list(range(1, 17))
    for name in (
        'loss_itc',
        'loss_inter',
        'loss_itm',
        'loss_intra',
        'loss_entropy',
        'itc_acc',
        'inter_acc',
        'itm_acc',
        'intra_acc',
        'logit_scale',
        'slot_mass',
        'slot_entropy',
        'slot_dead',
        'lr',
    ):
        assert all(name in row for row in steps), name
    (best,) = trained.glob('best_photos_right_box_iter_*.pth')
    assert 'state_dict' in torch.load(best, weights_only=True)


def test_misspelt_keys_fail_and_name_key_and_config(workplace):
    top_level = workplace.folder / 'top_level.py'
    top_level.write_text("_base_ = 'tiny.py'\ntrain_dataloder = dict(batch_size=4)\n")
    component = workplace.folder / 'component.py'
    component.write_text("_base_ = 'tiny.py'\ntrain_dataloader = dict(dataset=dict(sede=1))\n")
    train = workplace.root / 'tools/train.py'
    runs = dict(
        option=(workplace.config, '--cfg-options', 'train_dataloader.batch_sise=4'),
        top_level=(top_level,),
        component=(component,),
    )
    for name, words in dict(
        option=("'batch_sise'", "'batch_size'", 'tiny.py'),
        top_level=("'train_dataloder'", "'train_dataloader'", 'top_level.py'),
        component=("'sede'", 'ProductDataset', 'component.py'),
    ).items():
        last = workplace.wait(name, workplace.start(name, train, *runs[name]), expected=1)[-1500:]
        for word in words:
            assert word in last, (name, last)


@pytest.mark.alone
def test_two_processes_evaluate_as_one(workplace, trained):
    folder = workplace.folder / 'two_test'
    workplace.run(
        'two_test',
        'bash',
        workplace.root / 'tools/dist_test.sh',
        workplace.config,
        trained / 'iter_16.pth',
        2,
        '--work-dir',
        folder,
        '--cfg-options',
        'env_cfg.dist_cfg.backend=gloo',
        PORT=free_port(),
    )
    assert_same_figures(figures(folder), validation(trained))


@pytest.mark.alone
def test_two_processes_train_with_accumulation_amp_and_tensorboard(workplace):
    """With a static graph, as the base config sets DDP up, they could not accumulate."""
    config = workplace.folder / 'board.py'
    config.write_text(
        "_base_ = 'tiny.py'\n"
        'optim_wrapper = dict(accumulative_counts=2)\n'
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), "
        "dict(type='TensorboardVisBackend')])\n"
    )
    text = workplace.run(
        'board',
        'bash',
        workplace.root / 'tools/dist_train.sh',
        config,
        2,
        '--amp',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'env_cfg.dist_cfg.backend=gloo',
        PORT=free_port(),
    )
    folder = workplace.folder / 'work_dirs/board'  # the default: named after the config
    assert list(folder.glob('*/vis_data/events.out.tfevents.*'))
    log = next(folder.glob('*/*.log')).read_text()  # the console leaves them out
    assert 'Distributed training: True' in log and "BF16OptimWrapper'" in log
    assert text.count('model_wrapper_cfg.static_graph=False') == 1
    assert 'photos/right_box' in validation(folder)
    saved = torch.load(folder / 'iter_4.pth', weights_only=True)  # 64 products / (2 x 8)
    assert saved['meta']['iter'] == 4
    assert saved['optimizer']['state'][0]['step'] == 2
    assert all(value.isfinite().all() for value in saved['state_dict'].values())
