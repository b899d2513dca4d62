"""A sharded model through the tools, as a user starts them."""

import pytest
import torch

from helpers.figures import assert_same_figures, figures, validation
from helpers.processes import free_port, rank_env

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_a_sharded_model_trains_validates_and_is_tested_whole(workplace):
    """As torchrun starts it, in bf16; one process gets the figures of its validation."""
    config = workplace.folder / 'sharded.py'
    config.write_text(
        "_base_ = 'tiny.py'\nrunner_type = 'ShardedRunner'\n"
        'model = dict(text_encoder=dict(length_groups=1))\n'
    )
    train, folder, port = (
        workplace.root / 'tools/train.py',
        workplace.folder / 'sharded',
        free_port(),
    )
    options = ('--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.batch_size=16')
    ranks = {
        f'sharded{rank}': workplace.start(
            f'sharded{rank}',
            *(train, config, '--work-dir', folder, '--launcher', 'pytorch', '--amp', *options),
            **rank_env(rank, 2, port),
        )
        for rank in (0, 1)
    }
    for name, rank in ranks.items():
        workplace.wait(name, rank)
    checkpoint = folder / 'iter_2.pth'  # 64 products / (2 x 16)
    saved = torch.load(checkpoint, weights_only=True)
    assert saved['meta']['iter'] == 2
    assert all(value.isfinite().all() for value in saved['state_dict'].values())
    test, tested = workplace.root / 'tools/test.py', workplace.folder / 'sharded_test'
    workplace.run('sharded_test', test, config, checkpoint, '--work-dir', tested)
    assert_same_figures(figures(tested), validation(folder))
