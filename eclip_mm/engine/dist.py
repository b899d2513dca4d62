"""Several processes: gathering features with and without gradient, what a launch needs."""

import datetime
import os

import torch
import torch.distributed as dist
from mmengine.logging import print_log
from torch import Tensor

#: where torchrun, Slurm and Open MPI write the number of a process
RANK_VARIABLES = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def world() -> tuple[int, int]:
    """(rank, world size); (0, 1) without ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _GatherWithGrad(torch.autograd.Function):
    """all_gather whose backward sums the gradients that every rank has for a row.

    Each rank takes the mean loss of its own rows and DDP averages parameter
    gradients over ranks; with this backward the result is the gradient of the
    mean over the whole batch, exactly.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.rows = local_rows(len(x))
        return _all_gather(x)

    @staticmethod
    def backward(ctx, grad):
        # a copy: others may read the incoming gradient, which is not this function's to change
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.rows]


def _all_gather(x: Tensor) -> Tensor:
    out = [torch.empty_like(x) for _ in range(world()[1])]
    dist.all_gather(out, x.contiguous())
    return torch.stack(out, dim=1).flatten(0, 1)


def gather(x: Tensor) -> Tensor:
    """(B, ...) of this rank -> (world * B, ...) of all, gradients flow back.

    Row k of rank r becomes row ``k * world + r``: as ``ResumableSampler`` deals
    a batch like cards, the global batch is then in the same order whatever the
    number of ranks. Every rank must hold the same number of rows. A tensor
    that needs no gradient is gathered without one.
    """
    if world()[1] == 1:
        return x
    if x.requires_grad and torch.is_grad_enabled():
        return _GatherWithGrad.apply(x)
    return _all_gather(x)


def local_part(x: Tensor) -> Tensor:
    """What this rank holds of a tensor that is divided over the ranks (FSDP2), else the tensor.

    Not a copy; only to be called without gradients.
    """
    return x.to_local() if hasattr(x, 'to_local') else x


def local_rows(batch_size: int) -> slice:
    """Where this rank's rows stand in a gathered tensor."""
    rank, size = world()
    return slice(rank, size * batch_size, size)


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


def leave_process_group() -> None:
    """End ``torch.distributed`` before the interpreter does.

    Its threads may otherwise outlive what they use, and a run that went well
    ends with "terminate called without an active exception".
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
