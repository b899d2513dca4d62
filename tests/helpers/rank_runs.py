"""Trainings of a few steps on one process or on two, and their comparison."""

import torch
from mmengine.config import Config

from eclip_mm.config.launch import allow_accumulation, prepare_cpu_launch
from eclip_mm.registry import RUNNERS
from eclip_mm.testing import end_rank, tiny_model_config
from helpers.runs import BATCH, runner_config

DDP = dict(
    model_wrapper_cfg=dict(
        type='MMDistributedDataParallel',
        static_graph=True,
        gradient_as_bucket_view=True,
        broadcast_buffers=False,
    )
)
SHARDED = dict(runner_type='ShardedRunner')
STEPS = 4


def config(
    work_dir,
    ranks=1,
    recompute=False,
    accumulate=1,
    chunk_size=None,
    compile=None,
    small=False,
    **case,
) -> Config:
    """A run of one epoch; two layers in each encoder, so that units follow one another.

    ``small`` is for compilation, which takes its time for each part.
    """
    layers = 1 if small else 2
    model = tiny_model_config(embed_dims=16, num_blocks=layers, chunk_size=chunk_size)
    for name in ('image_encoder', 'text_encoder'):
        model[name]['config']['num_hidden_layers'] = layers
        model[name]['gradient_checkpointing'] = recompute
    if small:
        model['pretext_heads'].update(itm=None, intra=None)
    if small or 'runner_type' in case:
        model['text_encoder']['length_groups'] = 1
    model['pretext_heads']['inter']['queue'] = dict(type='MomentumQueue', size=6)
    if compile:
        case['hooks'] = [dict(type='CompileHook', enabled=True, **compile), *case.get('hooks', ())]
    cfg = Config(runner_config(work_dir, model=model, **case))
    cfg.train_dataloader.batch_size = BATCH // ranks
    cfg.optim_wrapper.update(
        # small gradients have any sign, and Adam's steps their size: eps takes them out
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05, eps=1e-3, fused=True),
        clip_grad=dict(max_norm=0.5, error_if_nonfinite=True),
        accumulative_counts=accumulate,
    )
    return cfg


def train_and_resume(rank, folder, make_model):
    """DDP and sharded: two optimiser steps of two batches each, and the second one resumed.

    Args:
        rank: unused.
        folder: receives ``ddp``, ``sharded``, and both with ``_resumed``.
        make_model: returns the config of the model.
    """
    for name, case in dict(ddp=DDP, sharded=SHARDED).items():
        cfg = runner_config(f'{folder}/{name}', model=make_model(), launcher='pytorch', **case)
        cfg = Config(cfg)
        cfg.train_dataloader.batch_size = BATCH // 2
        cfg.optim_wrapper.accumulative_counts = 2
        cfg.optim_wrapper.optimizer.eps = 1e-3  # some gradients are rounding errors
        prepare_cpu_launch(cfg)
        allow_accumulation(cfg)
        train(cfg)
        cfg.update(resume=True, load_from=f'{folder}/{name}/iter_2.pth')
        cfg.update(work_dir=f'{folder}/{name}_resumed', experiment_name=f'{name}_resumed')
        train(cfg)
    end_rank()


def train(cfg: Config):
    torch.manual_seed(0)
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


def train_rank(work_dir, **case):
    """As one of two processes, which :func:`helpers.processes.start_ranks` has started."""
    cfg = config(work_dir, ranks=2, launcher='pytorch', **case)
    prepare_cpu_launch(cfg)
    allow_accumulation(cfg)
    return train(cfg)


def load(folder, step=STEPS) -> dict:
    return torch.load(folder / f'iter_{step}.pth', weights_only=True)


def assert_same_training(
    ours: dict, theirs: dict, rtol=1e-5, atol=2e-6, ranks_differ=False, updates=STEPS
):
    """Weights of model and momentum model, optimiser, and what was logged at every step.

    What is logged of the loss is the main rank's share of the batch.
    """
    assert list(ours['state_dict']) == list(theirs['state_dict'])
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(
            ours['state_dict'][name],
            value,
            rtol=rtol,
            atol=atol,
            msg=lambda m, name=name: f'{name}: {m}',
        )
    assert ours['optimizer']['state'].keys() == theirs['optimizer']['state'].keys()
    for index, of_param in theirs['optimizer']['state'].items():
        for name, value in of_param.items():
            torch.testing.assert_close(
                ours['optimizer']['state'][index][name], value, rtol=rtol, atol=atol
            )
    scalars, others = (c['message_hub']['log_scalars'] for c in (ours, theirs))
    for name in ('train/loss', 'train/grad_norm', 'train/logit_scale')[ranks_differ:]:
        assert len(scalars[name]['log']) == (updates if name == 'train/grad_norm' else STEPS)
        torch.testing.assert_close(scalars[name]['log'], others[name]['log'], rtol=1e-4, atol=1e-5)
