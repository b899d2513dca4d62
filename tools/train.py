"""Train a model.

    python tools/train.py configs/eclip_vitl16.py \\
        --cfg-options train_dataloader.dataset.catalogue=my/catalogue.parquet
"""

import argparse
import os
import os.path as osp

from mmengine.config import DictAction
from mmengine.runner import Runner

from eclip_mm.engine import leave_process_group, prepare_cpu_launch
from eclip_mm.utils.config import load_config, naming_config


def parse_args():
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go; default: work_dirs/{name of the config}'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint; without a path, from the last one in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='key=value overrides, e.g. train_dataloader.batch_size=64',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    if args.amp:
        cfg.optim_wrapper.type = 'BF16OptimWrapper'
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    prepare_cpu_launch(cfg)
    with naming_config(args.config):
        Runner.from_cfg(cfg).train()
    leave_process_group()


if __name__ == '__main__':
    main()
