"""The momentum model: an exponential moving average of the network."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.chunked import in_chunks
from eclip_mm.models.decoders import TEXT, scale_prompts
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.prompts import PromptPlan
from eclip_mm.registry import MODELS
from eclip_mm.utils.dist import gather, local_part


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
        self.shared_names = find_shared_names(self.network, network)
        self.register_load_state_dict_pre_hook(keep_shared_weights)

    def train(self, mode: bool = True):
        """Stay in evaluation mode: the teacher uses no dropout."""
        return super().train(False)

    @torch.no_grad()
    def encode_image_feats(self, images: Tensor, chunk_size: int | None = None) -> Tensor:
        """(B, D) L2-normalised g_I(v_cls) of (B, 3, H, W) pictures."""
        with cast_once(self.network, images.device):
            return in_chunks(self.network.encode_image_feats, chunk_size, images)

    @torch.no_grad()
    def encode_instances(
        self,
        images: Tensor,
        text: tuple[Tensor, Tensor],
        plan: PromptPlan,
        chunk_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features and positive instances of the products' other pictures.

        All prompts are texts: an image prompt for the other picture would have
        to come from the first, by one more pass of the momentum encoder.

        Args:
            images: x' (B, 3, H, W) normalised pictures.
            text: ``input_ids`` and ``attention_mask`` (B, M).
            plan: which products' texts the queries get.
            chunk_size: rows at a time, see :func:`in_chunks`.

        Returns:
            L2-normalised g_I(v_cls) of x' (B, D); h_xi (B, D) of Eq. 8,
            L2-normalised.
        """
        with cast_once(self.network, images.device):
            text_feats = gather(in_chunks(self.network.encode_text, chunk_size, *text))
            return in_chunks(
                partial(self._encode_and_decode, text_feats),
                chunk_size,
                images,
                plan.sources,
                plan.positive_index,
            )

    def _encode_and_decode(
        self, text_feats: Tensor, images: Tensor, sources: Tensor, positive_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """:meth:`encode_instances` for some rows; ``text_feats`` (G, D) of the global batch."""
        image_feats, instance_feats, _ = self.network.encode_and_decode(
            images, scale_prompts(text_feats[sources]), torch.full_like(sources, TEXT)
        )
        rows = torch.arange(len(instance_feats), device=instance_feats.device)
        positive_feats = at_least_float32(instance_feats[rows, positive_index])
        return image_feats, F.normalize(positive_feats, dim=-1)

    def momentum_at(self, progress: float) -> float:
        """m after a fraction ``progress`` in [0, 1] of the training."""
        if self.schedule == 'constant':
            return self.momentum
        return 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2

    @torch.no_grad()
    def update(self, network: nn.Module, progress: float):
        """Move one step towards ``network``; buffers are copied.

        Args:
            network: the network to follow.
            progress: completed fraction of the training, in [0, 1].
        """
        weight = 1 - self.momentum_at(progress)
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        pairs = [(local_part(m), local_part(o)) for m, o in pairs if m is not o]
        torch._foreach_lerp_([mine for mine, _ in pairs], [other for _, other in pairs], weight)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(other)


@contextmanager
def cast_once(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, autocast casts each weight of a network once, whatever number of calls use it.

    autocast keeps the casts of weights that require a gradient, and casts the others at each use:
    once for each group of texts and each chunk. Inside, all weights say that they require one. The
    caller has switched gradients off, so none is computed.

    Sharded weights (FSDP2) are left as they are: each use has gathered them into new memory.

    Args:
        network: whose weights have no gradient.
        device: of its inputs.
    """
    frozen = []
    if torch.is_autocast_enabled(device.type):
        weights = (p for p in network.parameters() if not p.requires_grad)
        frozen = [p for p in weights if local_part(p) is p]
    for param in frozen:
        param.requires_grad_(True)
    try:
        yield
    finally:
        for param in frozen:
            param.requires_grad_(False)
        if frozen:  # before the losses need the memory
            torch.clear_autocast_cache()


def find_shared_names(network: nn.Module, other: nn.Module) -> list[str]:
    """Names of the tensors in the state dict of a network that are those of another one."""
    theirs = {id(value) for value in other.state_dict(keep_vars=True).values()}
    own = network.state_dict(keep_vars=True)
    return [name for name, value in own.items() if id(value) in theirs]


def keep_shared_weights(
    teacher: MomentumTeacher, state_dict: dict[str, Tensor], prefix: str, *_
) -> None:
    """Let the network's values count for what the teacher shares with it, in place.

    A shared tensor has two names in a checkpoint. If that comes from a training without
    ``freeze``, the values differ. The network is registered first and is already loaded, so the
    teacher's entries are replaced by what the tensors hold now.

    Args:
        teacher: about to be loaded.
        state_dict: with its weights behind ``prefix``.
        prefix: of the teacher's names in ``state_dict``.
    """
    if not teacher.shared_names:
        return
    for name, module in teacher.network.named_modules():
        if hasattr(module, 'rename_weights'):  # names of another version of transformers
            module.rename_weights(state_dict, f'{prefix}network.{name}.')
    own = teacher.network.state_dict()
    for name in teacher.shared_names:
        state_dict[f'{prefix}network.{name}'] = own[name]
