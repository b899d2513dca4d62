"""The momentum model: an exponential moving average of the network."""

import copy
import math

import torch
from torch import nn

from eclip_mm.registry import MODELS
from eclip_mm.utils.dist import local_part


@MODELS.register_module()
class MomentumTeacher(nn.Module):
    """EMA of encoders, projections, queries and decoder (Section 3.3, [8]).

    theta_xi <- m * theta_xi + (1 - m) * theta, after each optimiser step; m
    rises from ``momentum`` to 1 on a half cosine over the training, as in
    MoCo v3.

    Args:
        network: the network to follow.
        momentum: m at the first step.
        schedule: ``cosine`` or ``constant``.
    """

    def __init__(self, network: nn.Module, momentum: float = 0.99, schedule: str = 'cosine'):
        super().__init__()
        if schedule not in ('cosine', 'constant'):
            raise ValueError(f"schedule must be 'cosine' or 'constant', got {schedule!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must lie in [0, 1], got {momentum}')
        self.momentum = momentum
        self.schedule = schedule
        # frozen parts are one with the network's: no second copy in memory
        shared = {id(part): part for part in getattr(network, 'frozen_parts', list)()}
        self.network = copy.deepcopy(network, shared).requires_grad_(False).eval()

    def train(self, mode: bool = True):
        """The teacher never drops anything out."""
        return super().train(False)

    def momentum_at(self, progress: float) -> float:
        """m at a share ``progress`` in [0, 1] of the training."""
        if self.schedule == 'constant':
            return self.momentum
        return 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2

    @torch.no_grad()
    def update(self, network: nn.Module, progress: float):
        """One step towards ``network``; buffers are copied."""
        weight = 1 - self.momentum_at(progress)
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        pairs = [(local_part(m), local_part(o)) for m, o in pairs if m is not o]
        torch._foreach_lerp_([mine for mine, _ in pairs], [other for _, other in pairs], weight)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(other)
