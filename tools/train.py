"""Train a model.

    python tools/train.py configs/eclip_vitl16.py \\
        --cfg-options train_dataloader.dataset.catalogue=my/catalogue.parquet
"""

import argparse

from eclip_mm.checkpoint.metadata import go_on_from_checkpoint
from eclip_mm.config.detection import fill_architecture
from eclip_mm.config.launch import (
    add_launch_arguments,
    allow_accumulation,
    apply_launch_arguments,
    prepare_cpu_launch,
)
from eclip_mm.config.loading import load_config, naming_config
from eclip_mm.registry import RUNNERS
from eclip_mm.utils.dist import leave_process_group


def parse_args():
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint; without a path, from the last one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    add_launch_arguments(parser, 'logs and checkpoints')
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    apply_launch_arguments(cfg, args)
    if args.amp:
        cfg.optim_wrapper.type = 'eclip_mm.BF16OptimWrapper'  # in mmdet's scope as well
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
        go_on_from_checkpoint(cfg)
    # configs of other libraries lack it, and tools/test.py reads plain checkpoints only
    hooks = cfg.setdefault('default_hooks', {})
    hooks.setdefault('plain_checkpoint', dict(type='eclip_mm.PlainCheckpointHook'))
    prepare_cpu_launch(cfg)
    allow_accumulation(cfg)
    with naming_config(args.config):
        fill_architecture(cfg.model)
        RUNNERS.build(cfg).train()  # mmengine's, or the one that `runner_type` names
    leave_process_group()


if __name__ == '__main__':
    main()
