"""Training with weights, gradients and optimiser state sharded over the ranks (FSDP2).

Every rank holds a shard of each parameter, and gathers the parameters of a layer when it computes
that layer. Losses and steps are those of DDP, and checkpoints are those of an unsharded model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.dist import get_dist_info, is_main_process
from mmengine.optim import OptimWrapper
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from eclip_mm.engine.brief_runner import BriefRunner
from eclip_mm.engine.sharded_state import (
    clip_grad_norm,
    gather_model_state,
    shard_model_state,
    use_full_state,
)
from eclip_mm.registry import RUNNERS

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # torch < 2.6
    fully_shard = None


@RUNNERS.register_module()
class ShardedRunner(BriefRunner):
    """mmengine's runner with a sharded model; ``runner_type='ShardedRunner'`` in a config.

    The layers of encoders and decoder, including those of the momentum model, are
    gathered one by one, and the other parameters once a step. Loops, hooks and
    checkpoints are those of ``Runner``: either runner can resume from a checkpoint of
    the other, on any number of GPUs. To read a checkpoint, every rank loads the whole
    file into the memory of its machine.

    With a single process it behaves like ``Runner``.

    Raises:
        RuntimeError: torch is older than 2.6.
        ValueError: a hook runs the model on a single rank, the text encoder works in
            length groups, or gradients are clipped by anything but their norm.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Shard the model; ``model_wrapper_cfg`` is for DDP and is ignored."""
        if not self.distributed:
            return super().wrap_model(None, model)
        for module in model.modules():
            if getattr(module, 'length_groups', 1) is None:
                module.length_groups = 1
        if any(getattr(module, 'length_groups', 1) > 1 for module in model.modules()):
            raise ValueError(
                'ShardedRunner: each rank would gather the text encoder as often as its own texts '
                'need, so that ranks wait for each other forever; set '
                'model.text_encoder.length_groups=1'
            )
        if hasattr(model, 'init_weights'):  # needs unsharded weights
            model.init_weights()
        return shard_model(model.to(get_device()))

    def _init_model_weights(self) -> None:
        if not self.distributed:  # `wrap_model` has done it otherwise
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper) -> OptimWrapper:
        built = isinstance(optim_wrapper, OptimWrapper)
        optim_wrapper = super().build_optim_wrapper(optim_wrapper)
        if self.distributed and not built:
            use_full_state(optim_wrapper.optimizer)
            if optim_wrapper.clip_grad_kwargs:
                if optim_wrapper.clip_func is not torch.nn.utils.clip_grad_norm_:
                    raise ValueError(
                        'ShardedRunner can clip gradients only by their norm: set '
                        "optim_wrapper.clip_grad.type='norm' or remove it"
                    )
                optim_wrapper.clip_func = clip_grad_norm
        return optim_wrapper

    def train(self) -> nn.Module:
        for hook in self.hooks:
            if self.distributed and type(hook).__name__ == 'PictureHook':
                raise ValueError(
                    'PictureHook runs the model on one rank, which would wait for the others '
                    'forever: remove it from custom_hooks, and draw with tools/analysis_tools'
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
        """Save as ``Runner`` does. All ranks take part, and the main rank writes the file."""
        if is_main_process():
            super().save_checkpoint(*args, save_optimizer=save_optimizer, **kwargs)
        elif self.distributed:
            self.model.state_dict()
            if save_optimizer:
                self.optim_wrapper.state_dict()


def shard_model(model: nn.Module, mesh=None) -> nn.Module:
    """Shard a model over the ranks, in place.

    Each item of an ``nn.ModuleList`` (the layers of encoders and decoder) is a unit
    that is gathered by itself. The remaining parameters are gathered with the whole
    model. Scalars such as the logit scale are not sharded, and their gradients are
    averaged over the ranks.

    Args:
        model: the model of this rank. Weights and buffers of rank 0 replace those of
            the others.
        mesh: device mesh of the ranks; None for one with all ranks.

    Returns:
        The model. All ranks must call its ``state_dict`` together; it has unsharded
        tensors on the CPU on the main rank and empty tensors on the others.
        ``load_state_dict`` takes unsharded tensors.

    Raises:
        RuntimeError: torch is older than 2.6.
    """
    if fully_shard is None:
        raise RuntimeError(
            f'ShardedRunner needs torch >= 2.6, and this is {torch.__version__}; install a newer '
            'one, or remove runner_type from the config'
        )
    if mesh is None:  # made here, since otherwise every unit would make its own
        mesh = init_device_mesh(next(model.parameters()).device.type, (get_dist_info()[1],))
    copy_shared_parameters(model)
    for tensor in chain(model.parameters(), model.buffers()):
        dist.broadcast(tensor.data, 0)
    scalars = {param for param in model.parameters() if param.ndim == 0}
    for param in scalars:
        if param.requires_grad:
            param.register_post_accumulate_grad_hook(_average_grad)
    units = [item for m in model.modules() if isinstance(m, nn.ModuleList) for item in m]
    for unit in reversed(dict.fromkeys(units)):  # inner units first
        fully_shard(unit, mesh=mesh, ignored_params=scalars & set(unit.parameters()))
    fully_shard(model, mesh=mesh, ignored_params=scalars)
    model._register_state_dict_hook(gather_model_state)
    model._register_load_state_dict_pre_hook(shard_model_state, with_module=True)
    return model


def copy_shared_parameters(model: nn.Module) -> None:
    """Give each module its own copy of untrained parameters that it shares with another one.

    FSDP2 gathers a shared module once, but takes no parameter in two units. The momentum model
    shares parameters where only adapters of a layer are trained. Copies stay equal, since
    nothing changes them; each is loaded from its own entry of a checkpoint.
    """
    seen, copies = set(), set()
    for module in model.modules():
        for name, param in module.named_parameters(recurse=False):
            if id(param) in seen and not param.requires_grad:
                copied = nn.Parameter(param.detach().clone(), requires_grad=False)
                setattr(module, name, copied)
                copies.add(copied)
            seen.add(id(param))
    for module in model.modules():
        if hasattr(module, 'shared_names'):  # the momentum model
            own = module.network.state_dict(keep_vars=True)
            module.shared_names = [n for n in module.shared_names if own[n] not in copies]


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Gather the weights of a model, so that parts of it can be called outside of ``forward``.

    All ranks must enter this block. It does nothing for a model that is not sharded.
    """
    sharded = hasattr(model, 'unshard')
    if sharded:
        model.unshard()
    try:
        yield
    finally:
        if sharded:
            model.reshard()


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP2 holds parts of a model's weights on other ranks."""
    return any(hasattr(module, 'unshard') for module in model.modules())


def _average_grad(param: nn.Parameter) -> None:
    dist.all_reduce(param.grad)
    param.grad /= get_dist_info()[1]
