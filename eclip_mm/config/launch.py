"""Launching programs built on mmengine's Runner: work dir and processes."""

import argparse
import datetime
import os
import os.path as osp

import torch
import torch.distributed as dist
from mmengine.logging import print_log

from eclip_mm.utils.seeding import derive_seed


def apply_launch_arguments(cfg, args: argparse.Namespace) -> None:
    """Set launcher and work dir of a config, and environment variables that the launcher lacks.

    The work dir is ``--work-dir``, else that of the config, else
    ``work_dirs/{name of the config}``.

    Args:
        cfg: ``Config``; changed in place.
        args: arguments of :func:`~eclip_mm.utils.arguments.add_launch_arguments` and
            ``config``.
    """
    if args.launcher == 'mpi' and 'OMPI_COMM_WORLD_LOCAL_RANK' in os.environ:
        # mmengine selects the GPU of this number, but gives DDP that of LOCAL_RANK
        os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'slurm' and 'SLURM_JOB_ID' in os.environ:
        # with mmengine's default of 29500, two jobs on a machine would collide
        step = os.environ['SLURM_JOB_ID'], os.environ.get('SLURM_STEP_ID', '0')
        os.environ.setdefault('MASTER_PORT', str(20000 + derive_seed(*step) % 12000))
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])


def add_needed_hooks(cfg) -> None:
    """Add the hooks that configs of other libraries do not have, in place.

    ``tools/test.py`` reads plain checkpoints only, and a run is checked before its first step.

    Args:
        cfg: ``Config``.
    """
    hooks = cfg.setdefault('default_hooks', {})
    hooks.setdefault('plain_checkpoint', dict(type='eclip_mm.PlainCheckpointHook'))
    hooks.setdefault('run_check', dict(type='eclip_mm.RunCheckHook'))


#: environment variables in which torchrun, Slurm and Open MPI give the rank of a process
RANK_VARIABLES = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def prepare_cpu_launch(cfg) -> None:
    """Make ``--launcher pytorch`` work on a machine without a GPU.

    mmengine selects a CUDA device before it looks at the backend. This function
    initializes gloo before mmengine does, and makes DDP wrap the model without a
    device. It does nothing if there is a GPU or a single process.

    Args:
        cfg: ``Config`` with ``launcher``; changed in place.
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
    """Turn DDP's static graph off if gradients accumulate over several steps, and log it.

    With a static graph DDP expects gradients to be synchronised in every step. If some steps skip
    that, torch fails with ``expect_autograd_hooks_ INTERNAL ASSERT FAILED``.

    Args:
        cfg: ``Config`` with ``launcher``; changed in place.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if cfg.launcher == 'none' or counts == 1 or not wrapper.get('static_graph'):
        return
    wrapper['static_graph'] = False
    # torch.distributed may not be initialized yet, so the rank is read from the environment
    ranks = (os.environ.get(key, '0') for key in RANK_VARIABLES)
    if all(rank == '0' for rank in ranks):
        print_log(
            f'optim_wrapper.accumulative_counts={counts} synchronises gradients in some steps '
            'only, so model_wrapper_cfg.static_graph=False is set'
        )
