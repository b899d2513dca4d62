"""Training with weights, gradients and optimiser state divided over the ranks (FSDP2).

A rank holds its share of every parameter and gathers a layer's when it computes that layer. Losses
and steps are those of DDP; checkpoints are those of a model that is not divided.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.dist import get_dist_info, is_main_process
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from eclip_mm.registry import RUNNERS
from eclip_mm.utils.dist import local_part

try:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # torch < 2.6
    fully_shard = None


@RUNNERS.register_module()
class ShardedRunner(Runner):
    """mmengine's runner for a divided model; ``runner_type='ShardedRunner'`` in a config.

    The layers of encoders and decoder, those of the momentum model too, are
    gathered one by one, the rest once a step. The loops, hooks and
    checkpoints are those of ``Runner``: a checkpoint is read by any runner on
    any number of GPUs, and goes on here from any. To read one, every rank
    loads the whole file into the memory of its machine.

    With one process it is ``Runner``.

    Raises:
        RuntimeError: torch is older than 2.6.
        ValueError: a hook runs the model on one rank alone, the text encoder
            works in groups, or the gradients are clipped by anything but their
            2-norm.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Divide the model; ``model_wrapper_cfg`` is DDP's and does not count."""
        if not self.distributed:
            return super().wrap_model(None, model)
        if any(getattr(module, 'length_groups', 1) > 1 for module in model.modules()):
            raise ValueError(
                'ShardedRunner: the ranks would gather the text encoder unequally often, each as '
                'its own texts need, and wait for one another for ever; set '
                'model.text_encoder.length_groups=1'
            )
        if hasattr(model, 'init_weights'):  # which looks at whole weights
            model.init_weights()
        return shard_model(model.to(get_device()))

    def _init_model_weights(self) -> None:
        if not self.distributed:  # there it was done before
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper) -> OptimWrapper:
        built = isinstance(optim_wrapper, OptimWrapper)
        optim_wrapper = super().build_optim_wrapper(optim_wrapper)
        if self.distributed and not built:
            save_whole(optim_wrapper.optimizer)
            if optim_wrapper.clip_grad_kwargs:
                if optim_wrapper.clip_func is not torch.nn.utils.clip_grad_norm_:
                    raise ValueError(
                        'ShardedRunner clips gradients by their norm alone: set '
                        "optim_wrapper.clip_grad.type='norm' or leave it out"
                    )
                optim_wrapper.clip_func = clip_grad_norm
        return optim_wrapper

    def train(self) -> nn.Module:
        for hook in self.hooks:
            if self.distributed and type(hook).__name__ == 'PictureHook':
                raise ValueError(
                    'PictureHook runs the model on one rank, which would wait for the others for '
                    'ever: leave it out of custom_hooks, and draw with tools/analysis_tools'
                )
        return super().train()

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location='cpu',  # Runner's default puts the whole file on every GPU
    ) -> None:
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)

    def save_checkpoint(self, *args, save_optimizer: bool = True, **kwargs) -> None:
        """As in ``Runner``; all ranks take part, the main one writes."""
        if is_main_process():
            super().save_checkpoint(*args, save_optimizer=save_optimizer, **kwargs)
        elif self.distributed:
            self.model.state_dict()
            if save_optimizer:
                self.optim_wrapper.state_dict()


def shard_model(model: nn.Module, mesh=None) -> nn.Module:
    """Divide a model over the ranks, in place.

    Each item of an ``nn.ModuleList`` (the layers of encoders and decoder) is a
    unit that is gathered by itself; what is left is gathered with the whole
    model. Numbers such as the temperature stay whole on every rank, and their
    gradients are averaged here.

    Args:
        model: the same on all ranks; where it is not, rank 0's counts.
        mesh: of the ranks; None for all of them.

    Returns:
        The model. Its ``state_dict`` is to be called on all ranks, and gives
        whole tensors on the CPU of the main rank and empty ones elsewhere;
        ``load_state_dict`` takes whole tensors.

    Raises:
        RuntimeError: torch is older than 2.6.
    """
    if fully_shard is None:
        raise RuntimeError(
            f'ShardedRunner needs torch >= 2.6, this is {torch.__version__}; install that, or '
            'leave runner_type out of the config'
        )
    if mesh is None:  # one for all units: each would make its own
        mesh = init_device_mesh(next(model.parameters()).device.type, (get_dist_info()[1],))
    for tensor in chain(model.parameters(), model.buffers()):
        dist.broadcast(tensor.data, 0)
    numbers = {param for param in model.parameters() if param.ndim == 0}
    for param in numbers:
        if param.requires_grad:
            param.register_post_accumulate_grad_hook(_average_grad)
    units = [item for m in model.modules() if isinstance(m, nn.ModuleList) for item in m]
    for unit in reversed(dict.fromkeys(units)):  # inner ones first
        fully_shard(unit, mesh=mesh, ignored_params=numbers & set(unit.parameters()))
    fully_shard(model, mesh=mesh, ignored_params=numbers)
    model._register_state_dict_hook(_gather_state)
    model._register_load_state_dict_pre_hook(_divide_state, with_module=True)
    return model


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Let parts of a model be called from outside of its ``forward``, on all ranks.

    Does nothing for one that is not divided.
    """
    divided = hasattr(model, 'unshard')
    if divided:
        model.unshard()
    yield
    if divided:
        model.reshard()


def save_whole(optimizer: torch.optim.Optimizer) -> None:
    """Let the state of an optimiser of a divided model be read and written whole."""
    optimizer.register_state_dict_post_hook(_gather_optimizer)
    optimizer.register_load_state_dict_pre_hook(_divide_optimizer)


@torch.no_grad()
def clip_grad_norm(
    params: list[nn.Parameter], max_norm: float, error_if_nonfinite: bool = False
) -> Tensor:
    """``torch.nn.utils.clip_grad_norm_`` (2-norm) over divided and whole parameters.

    Returns:
        Norm of all gradients before clipping, the same on all ranks.

    Raises:
        RuntimeError: it is not finite, and ``error_if_nonfinite``.
    """
    parts = [local_part(p.grad) for p in params if isinstance(p, DTensor)]
    whole = [p.grad for p in params if not isinstance(p, DTensor)]
    squares = _sum_of_squares(parts, params[0].device)
    if get_dist_info()[1] > 1:
        dist.all_reduce(squares)
    norm = (squares + _sum_of_squares(whole, squares.device)).sqrt()
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(
            'the total norm of the gradients is non-finite, so it cannot be clipped'
        )
    torch._foreach_mul_(parts + whole, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _sum_of_squares(tensors: list[Tensor], device) -> Tensor:
    tensors = [tensor for tensor in tensors if tensor.numel()]  # a small one leaves ranks empty
    if not tensors:
        return torch.zeros((), device=device)
    return torch.stack(torch._foreach_norm(tensors)).float().square().sum()


def _average_grad(param: nn.Parameter) -> None:
    dist.all_reduce(param.grad)
    param.grad /= get_dist_info()[1]


def _whole(value):
    """A value of a state dict in one piece: on the main rank's CPU, empty on the others."""
    if not isinstance(value, DTensor):
        return value
    value = value.full_tensor()  # all ranks take part
    return value.cpu() if is_main_process() else value.new_empty(0)


def _divided(value, like):
    """This rank's share of a value, divided as ``like``."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    value = value.to(device=like.device, dtype=like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements)


def _gather_state(module, state_dict, prefix, local_metadata) -> None:
    for key in list(state_dict):
        state_dict[key] = _whole(state_dict[key])


def _divide_state(module, state_dict, prefix, *args) -> None:
    # frozen parts of the momentum model are the network's own
    for name, param in module.named_parameters(remove_duplicate=False):
        key = f'{prefix}{name}'
        if key in state_dict and state_dict[key].shape == param.shape:
            state_dict[key] = _divided(state_dict[key], param)


def _gather_optimizer(optimizer, state_dict) -> dict:
    state = {
        index: {name: _whole(value) for name, value in of_param.items()}
        for index, of_param in state_dict['state'].items()
    }
    return dict(state_dict, state=state)


def _divide_optimizer(optimizer, state_dict) -> dict:
    params = [param for group in optimizer.param_groups for param in group['params']]
    state = {
        index: {
            name: _divided(value, params[index])
            if isinstance(value, Tensor) and value.shape == params[index].shape
            else value
            for name, value in of_param.items()
        }
        for index, of_param in state_dict['state'].items()
    }
    return dict(state_dict, state=state)
