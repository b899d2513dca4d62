"""A divided model through the tools, as a user starts them."""

import torch

from test_tools.test_tools import assert_same_figures, figures, free_port, validation  # noqa: F401


def test_a_divided_model_trains_validates_and_is_tested_whole(workplace, free_port):  # noqa: F811
    """By torchrun, in bf16; its checkpoint gives one process the figures of its validation."""
    config = workplace.folder / 'sharded.py'
    config.write_text(
        "_base_ = 'tiny.py'\nrunner_type = 'ShardedRunner'\n"
        'model = dict(text_encoder=dict(length_groups=1))\n'
    )
    folder = workplace.folder / 'work_dirs/sharded'
    workplace.wait(
        'sharded',
        workplace.start(
            'sharded',
            'bash',
            workplace.root / 'tools/dist_train.sh',
            config,
            2,
            '--amp',
            '--cfg-options',
            'train_cfg.max_epochs=1',
            'train_dataloader.batch_size=16',
            PORT=free_port,
        ),
    )
    saved = torch.load(folder / 'iter_2.pth', weights_only=True)  # 64 products / (2 x 16)
    assert saved['meta']['iter'] == 2
    assert all(value.isfinite().all() for value in saved['state_dict'].values())
    tested = workplace.folder / 'sharded_test'
    workplace.wait(
        'sharded_test',
        workplace.start(
            'sharded_test',
            workplace.root / 'tools/test.py',
            config,
            folder / 'iter_2.pth',
            '--work-dir',
            tested,
        ),
    )
    assert_same_figures(figures(tested), validation(folder))
