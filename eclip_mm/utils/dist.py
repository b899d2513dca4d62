"""Several processes: gathering features with and without gradient, parts of divided tensors."""

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from torch import Tensor, nn


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
    out = [torch.empty_like(x) for _ in range(get_dist_info()[1])]
    dist.all_gather(out, x.contiguous())
    return torch.stack(out, dim=1).flatten(0, 1)


def gather(x: Tensor) -> Tensor:
    """(B, ...) of this rank -> (world * B, ...) of all, gradients flow back.

    Row k of rank r becomes row ``k * world + r``: as ``ResumableSampler`` deals
    a batch like cards, the global batch is then in the same order whatever the
    number of ranks. Every rank must hold the same number of rows. A tensor
    that needs no gradient is gathered without one.
    """
    if get_dist_info()[1] == 1:
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
    rank, size = get_dist_info()
    return slice(rank, size * batch_size, size)


def leave_process_group() -> None:
    """End ``torch.distributed`` before the interpreter does.

    Its threads may otherwise outlive what they use, and a run that went well
    ends with "terminate called without an active exception".
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside of DDP's wrapper, or the model itself."""
    return getattr(model, 'module', model)
