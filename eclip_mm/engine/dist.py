"""Gathering features over processes, with and without gradient."""

import torch
import torch.distributed as dist
from torch import Tensor


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
        rank, size = world()
        ctx.rows = slice(rank * len(x), (rank + 1) * len(x))
        out = [torch.empty_like(x) for _ in range(size)]
        dist.all_gather(out, x.contiguous())
        return torch.cat(out)

    @staticmethod
    def backward(ctx, grad):
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[ctx.rows]


def gather(x: Tensor) -> Tensor:
    """(B, ...) of this rank -> (world * B, ...) in rank order, gradients flow back.

    Every rank must hold the same number of rows. A tensor that needs no
    gradient is gathered without one.
    """
    if world()[1] == 1:
        return x
    if x.requires_grad and torch.is_grad_enabled():
        return _GatherWithGrad.apply(x)
    out = [torch.empty_like(x) for _ in range(world()[1])]
    dist.all_gather(out, x.contiguous())
    return torch.cat(out)


def local_rows(batch_size: int) -> slice:
    """Where this rank's rows stand in a gathered tensor."""
    rank = world()[0]
    return slice(rank * batch_size, (rank + 1) * batch_size)
