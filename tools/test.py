"""Evaluate a checkpoint with the test set and metrics of a config.

python tools/test.py configs/demo/eclip_tiny_synthetic.py work_dirs/.../best.pth
"""

import argparse
import os
import os.path as osp

from mmengine.config import DictAction
from mmengine.runner import Runner

from eclip_mm.engine import leave_process_group, prepare_cpu_launch
from eclip_mm.utils.config import load_config, naming_config


def parse_args():
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir', help='where the results go; default: work_dirs/{name of the config}'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='key=value overrides')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    prepare_cpu_launch(cfg)
    with naming_config(args.config):
        Runner.from_cfg(cfg).test()
    leave_process_group()


if __name__ == '__main__':
    main()
