"""Gradients and state dicts of a sharded model (FSDP2)."""

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info, is_main_process
from torch import Tensor, nn

from eclip_mm.utils.dist import local_part

try:
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # torch < 2.6
    DTensor = ()


def use_full_state(optimizer: torch.optim.Optimizer) -> None:
    """Make the state dict of an optimiser of a sharded model contain unsharded tensors.

    As for the model, all ranks must call ``state_dict`` together, and only the main rank
    gets the tensors.
    """
    optimizer.register_state_dict_post_hook(_gather_optimizer_state)
    optimizer.register_load_state_dict_pre_hook(_shard_optimizer_state)


@torch.no_grad()
def clip_grad_norm(
    params: list[nn.Parameter], max_norm: float, error_if_nonfinite: bool = False
) -> Tensor:
    """``torch.nn.utils.clip_grad_norm_`` (2-norm) for sharded and unsharded parameters.

    Args:
        params: parameters with gradients.
        max_norm: gradients are scaled so that their norm is at most this.
        error_if_nonfinite: raise an error if the norm is NaN or infinite.

    Returns:
        Norm of all gradients before clipping, the same on all ranks.

    Raises:
        RuntimeError: the norm is not finite, and ``error_if_nonfinite`` is set.
    """
    shards = [local_part(p.grad) for p in params if isinstance(p, DTensor)]
    others = [p.grad for p in params if not isinstance(p, DTensor)]
    squares = _sum_of_squares(shards, params[0].device)
    if get_dist_info()[1] > 1:
        dist.all_reduce(squares)
    norm = (squares + _sum_of_squares(others, squares.device)).sqrt()
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(
            'the total norm of the gradients is non-finite, so it cannot be clipped'
        )
    torch._foreach_mul_(shards + others, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _sum_of_squares(tensors: list[Tensor], device) -> Tensor:
    tensors = [tensor for tensor in tensors if tensor.numel()]  # ranks may have no rows
    if not tensors:
        return torch.zeros((), device=device)
    return torch.stack(torch._foreach_norm(tensors)).float().square().sum()


def _full(value):
    """Gather a value of a state dict: on the CPU on the main rank, empty on the others."""
    if not isinstance(value, DTensor):
        return value
    value = value.full_tensor()  # all ranks take part
    return value.cpu() if is_main_process() else value.new_empty(0)


def _shard(value, like):
    """Shard an unsharded value in the same way as ``like``."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    value = value.to(device=like.device, dtype=like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements)


def gather_model_state(module, state_dict, prefix, local_metadata) -> None:
    """Hook of ``state_dict`` that replaces sharded tensors by unsharded ones."""
    for key in list(state_dict):
        state_dict[key] = _full(state_dict[key])


def shard_model_state(module, state_dict, prefix, *args) -> None:
    """Hook of ``load_state_dict`` that shards tensors as the parameters of the model are."""
    # frozen parts of the momentum model are the network's own parameters
    for name, param in module.named_parameters(remove_duplicate=False):
        key = f'{prefix}{name}'
        if key in state_dict and state_dict[key].shape == param.shape:
            state_dict[key] = _shard(state_dict[key], param)


def _gather_optimizer_state(optimizer, state_dict) -> dict:
    state = {
        index: {name: _full(value) for name, value in of_param.items()}
        for index, of_param in state_dict['state'].items()
    }
    return dict(state_dict, state=state)


def _shard_optimizer_state(optimizer, state_dict) -> dict:
    params = [param for group in optimizer.param_groups for param in group['params']]
    state = {
        index: {
            name: _shard(value, params[index])
            if isinstance(value, Tensor) and value.shape == params[index].shape
            else value
            for name, value in of_param.items()
        }
        for index, of_param in state_dict['state'].items()
    }
    return dict(state_dict, state=state)
