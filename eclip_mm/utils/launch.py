"""Command-line arguments that all programs around mmengine's Runner share."""

import argparse
import os
import os.path as osp

from mmengine.config import DictAction

from eclip_mm.utils.seeding import derive_seed


def add_launch_arguments(parser: argparse.ArgumentParser, results: str) -> None:
    """``--work-dir``, ``--cfg-options``, ``--launcher``, ``--local_rank``.

    Args:
        parser: that parses ``config`` as well.
        results: what goes to the work dir, for the help.
    """
    parser.add_argument(
        '--work-dir', help=f'where {results} go; default: work_dirs/{{name of the config}}'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='key=value overrides, e.g. train_dataloader.batch_size=64',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch gives it to every process
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """What a program that draws from a checkpoint reads, and the picture that it writes.

    ``config``, ``checkpoint``, ``out``, ``--catalogue``, ``--device``,
    ``--cfg-options``.
    """
    parser.add_argument('config', help='of the training, or one of configs/evaluation')
    parser.add_argument('checkpoint')
    parser.add_argument('out', help='picture to write')
    parser.add_argument('--catalogue', help='for an evaluation config that leaves it open')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)


def apply_launch_arguments(cfg, args: argparse.Namespace) -> None:
    """Put launcher and work dir into a config, and what the launcher lacks into the environment.

    The work dir is ``--work-dir``, else the config's own, else
    ``work_dirs/{name of the config}``.
    """
    if args.launcher == 'mpi' and 'OMPI_COMM_WORLD_LOCAL_RANK' in os.environ:
        # mmengine selects this GPU, but DDP is told LOCAL_RANK's
        os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'slurm' and 'SLURM_JOB_ID' in os.environ:
        # mmengine's 29500 would be that of all jobs on a machine
        step = os.environ['SLURM_JOB_ID'], os.environ.get('SLURM_STEP_ID', '0')
        os.environ.setdefault('MASTER_PORT', str(20000 + derive_seed(*step) % 12000))
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
