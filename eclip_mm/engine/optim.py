"""Optimisers: which parameters have weight decay, and bf16 on any device."""

import re
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from eclip_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from eclip_mm.utils.dist import unwrap_model

#: parameters without weight decay, in addition to all one-dimensional ones (norms, biases)
NO_DECAY = (
    r'position_embeddings?(\.|$)',
    r'(^|\.)cls_token$',
    r'(^|\.)(mask|register)_tokens?$',
    r'token_type_embeddings',
    r'relative_position_bias_table$',
    r'(^|\.)(pos|type)_embed$',
    r'(^|\.)logit_scale$',
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PretrainOptimWrapperConstructor:
    """Builds an optimiser with two parameter groups, with and without weight decay.

    Weight decay does not apply to parameters of at most one dimension (norms, biases)
    and to position, type and query embeddings. mmengine makes a group of every
    parameter; with only two groups the fused and foreach optimisers update all tensors
    of a group together.

    Args:
        optim_wrapper_cfg: ``optimizer`` and settings of the wrapper.
        paramwise_cfg: ``no_decay``, regular expressions that are added to
            :data:`NO_DECAY`.

    Raises:
        KeyError: ``paramwise_cfg`` has an unknown key.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        self.cfg = dict(optim_wrapper_cfg)
        extra = dict(paramwise_cfg or {})
        self.no_decay = NO_DECAY + tuple(extra.pop('no_decay', ()))
        if extra:
            raise KeyError(f'paramwise_cfg has unknown keys {sorted(extra)}; known: no_decay')

    def split(self, model: nn.Module) -> tuple[list[str], list[str]]:
        """Names of the trained parameters with weight decay, and of those without."""
        decay, keep = [], []
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            free = param.ndim <= 1 or any(re.search(p, name) for p in self.no_decay)
            (keep if free else decay).append(name)
        return decay, keep

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = unwrap_model(model)
        params = dict(model.named_parameters())
        decay, keep = self.split(model)
        cfg = dict(self.cfg)
        cfg.setdefault('type', 'OptimWrapper')
        optimizer = dict(cfg.pop('optimizer'))
        optimizer['params'] = [
            dict(params=[params[n] for n in decay]),
            dict(params=[params[n] for n in keep], weight_decay=0.0),
        ]
        return OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=OPTIMIZERS.build(optimizer)))


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Runs the forward pass in bf16 autocast, on CPU or GPU.

    bf16 has the exponent range of float32, so the loss is not scaled. mmengine's
    AmpOptimWrapper scales it, and does not support CPUs. Weights and optimiser state
    stay in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
