"""What all programs around mmengine's Runner share: arguments, work dir, processes."""

import argparse
import datetime
import os
import os.path as osp

import torch
import torch.distributed as dist
from mmengine.config import DictAction
from mmengine.logging import print_log

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


#: where torchrun, Slurm and Open MPI write the number of a process
RANK_VARIABLES = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def prepare_cpu_launch(cfg) -> None:
    """Let ``--launcher pytorch`` work on a machine without GPU.

    mmengine selects a CUDA device before it looks at the backend. Here the
    processes are joined by gloo first, and the model is wrapped without
    device. Does nothing where there is a GPU or a single process.

    Args:
        cfg: config with ``launcher``; changed in place.
    """
    if cfg.launcher != 'pytorch' or torch.cuda.is_available():
        return
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    if not dist.is_initialized():
        dist.init_process_group('gloo', timeout=datetime.timedelta(seconds=timeout))
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    cfg.model_wrapper_cfg.device_ids = None


def allow_accumulation(cfg) -> None:
    """Switch DDP's static graph off where gradients accumulate over several steps.

    A static graph takes every step for one that sends its gradients; where some do not, torch ends
    with ``expect_autograd_hooks_ INTERNAL ASSERT FAILED``. A line of the output says so.

    Args:
        cfg: config with ``launcher``; changed in place.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if cfg.launcher == 'none' or counts == 1 or not wrapper.get('static_graph'):
        return
    wrapper['static_graph'] = False
    # before torch knows the rank
    ranks = (os.environ.get(key, '0') for key in RANK_VARIABLES)
    if all(rank == '0' for rank in ranks):
        print_log(
            f'optim_wrapper.accumulative_counts={counts} sends gradients in some steps only: '
            'model_wrapper_cfg.static_graph=False'
        )
