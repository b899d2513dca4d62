"""What every pretext head is."""

import torch
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs


class PretextHead(nn.Module):
    """A pretext task: reads :class:`PretrainOutputs`, returns named terms.

    Keys of the result that contain ``loss`` are summed and optimised; the
    others are logged.
    """

    #: whether the task reads instance_feats, assign_maps, positive_index
    needs_decoder = False
    #: whether it reads teacher_instance_feats
    needs_teacher = False

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        raise NotImplementedError


def similarity_logits(feats: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """``scale * feats @ others^T`` in float32 under autocast, too.

    bf16 has 8 bits: logits near 100 would be rounded by up to 0.25, and
    similar products could not be told apart.

    Args:
        feats: (B, D).
        others: (G, D).
        scale: scalar 1 / tau.

    Returns:
        (B, G).
    """
    with torch.autocast(feats.device.type, enabled=False):
        return scale * at_least_float32(feats) @ at_least_float32(others).T


def accuracy(logits: Tensor, targets: Tensor, same_product: Tensor | None = None) -> Tensor:
    """Share of rows whose largest logit is at the target, or at its product.

    Args:
        logits: (B, G).
        targets: (B,) int64.
        same_product: (B, G) bool, further columns that are right.
    """
    best = logits.argmax(dim=1)
    right = best == targets
    if same_product is not None:
        right = right | same_product.gather(1, best[:, None]).squeeze(1)
    return right.float().mean()
