"""Distributed training: gathering with and without gradient, local parts of sharded tensors."""

from functools import lru_cache

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from torch import Tensor, nn


class _GatherWithGrad(torch.autograd.Function):
    """all_gather whose backward pass sums the gradients that all ranks have for a row.

    Each rank takes the mean loss over its own rows, and DDP averages parameter
    gradients over the ranks. With this backward pass the result is exactly the
    gradient of the mean over the whole batch.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.rows = local_rows(len(x))
        return _all_gather(x)

    @staticmethod
    def backward(ctx, grad):
        # a copy, since autograd may use the incoming gradient elsewhere
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.rows]


def _all_gather(x: Tensor, group=None) -> Tensor:
    out = [torch.empty_like(x) for _ in range(get_dist_info()[1])]
    dist.all_gather(out, x.contiguous(), group=group)
    return torch.stack(out, dim=1).flatten(0, 1)


def gather(x: Tensor) -> Tensor:
    """Gather the rows of all ranks; gradients flow back to the rank of each row.

    Row k of rank r becomes row ``k * world_size + r``. ``ResumableSampler`` deals
    a batch to the ranks in this order, so the global batch does not depend on the
    number of ranks.

    Args:
        x: (B, ...) rows of this rank. B must be the same on all ranks. If ``x``
            needs no gradient, neither does the result.

    Returns:
        (world_size * B, ...) rows of all ranks.
    """
    if get_dist_info()[1] == 1:
        return x
    if x.requires_grad and torch.is_grad_enabled():
        return _GatherWithGrad.apply(x)
    return _all_gather(x)


def gather_on_host(x: Tensor) -> Tensor:
    """:func:`gather` for tensors on the CPU, without gradient; no rank waits for its GPU."""
    if get_dist_info()[1] == 1:
        return x
    return _all_gather(x, _host_group(dist.group.WORLD))


@lru_cache(maxsize=1)
def _host_group(world):
    """The group of all ranks for tensors on the CPU, which NCCL does not transfer.

    It waits for a late rank as long as ``world`` does (``env_cfg.dist_cfg.timeout``); a new group
    would take torch's default of 30 minutes.
    """
    if dist.get_backend(world) == 'gloo':
        return world
    # torch has no public way to ask a group for its timeout. Where this one fails, the new group
    # keeps torch's default.
    devices = getattr(world, '_device_types', [])
    options = getattr(world._get_backend(devices[0]), 'options', None) if devices else None
    return dist.new_group(backend='gloo', timeout=getattr(options, '_timeout', None))


def local_part(x: Tensor) -> Tensor:
    """The part of a sharded tensor (FSDP2) that this rank holds; other tensors are returned whole.

    The result shares memory with ``x``. Gradients do not flow through it.
    """
    return x.to_local() if hasattr(x, 'to_local') else x


def local_rows(batch_size: int) -> slice:
    """The positions of this rank's rows in a gathered tensor.

    Args:
        batch_size: B, the number of rows of each rank.
    """
    rank, size = get_dist_info()
    return slice(rank, size * batch_size, size)


def leave_process_group() -> None:
    """Shut down ``torch.distributed`` before the interpreter exits.

    Otherwise its threads may outlive objects that they use, and a successful run
    ends with "terminate called without an active exception".
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside DDP's wrapper, or the model itself if it is not wrapped."""
    return getattr(model, 'module', model)
