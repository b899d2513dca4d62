"""Contrast with a queue of both modalities and soft targets of a momentum model (ALBEF)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.heads.base import accuracy, similarity_logits
from eclip_mm.models.momentum_queue import MomentumQueue
from eclip_mm.models.precision import at_least_float32
from eclip_mm.utils.dist import gather


class PairQueue(nn.Module):
    """Momentum features of pictures and texts of earlier steps, with their product identities.

    The length is free: it need not be a multiple of the batch. It is a buffer,
    so that it travels with the checkpoint, and it is the same on all ranks,
    which each write the global batch.

    Args:
        size: K, number of pairs.
        embed_dims: width D of the features.
    """

    def __init__(self, size: int, embed_dims: int):
        super().__init__()
        self.ring = MomentumQueue(size, 2 * embed_dims)

    def extend(
        self, image_feats: Tensor, text_feats: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Append the queue to the (G, D), (G, D) and (G,) of the global batch: G + K' rows."""
        feats, ids = self.ring.extend(_both(image_feats, text_feats), ids)
        return *feats.chunk(2, dim=1), ids

    def later(self, image_feats: Tensor, text_feats: Tensor, ids: Tensor) -> Callable[[], None]:
        """The function that writes the global batch, for ``PretextHead.remember``."""
        return partial(self.ring.push, _both(image_feats, text_feats).detach(), ids)

    def clear(self) -> None:
        self.ring.clear()


def _both(image_feats: Tensor, text_feats: Tensor) -> Tensor:
    return torch.cat([image_feats, text_feats], dim=1)


def soft_info_nce(
    logits: Tensor, targets: Tensor, soft_logits: Tensor, alpha: float, ignore: Tensor
) -> Tensor:
    """Cross-entropy with ``alpha softmax(soft_logits) + (1 - alpha) one-hot``, mean over rows.

    Args:
        logits: (B, G) similarities, divided by the temperature.
        targets: (B,) int64 column of each row's own product.
        soft_logits: (B, G) of the momentum model; no gradient reaches them.
        alpha: weight of the soft targets.
        ignore: (B, G) bool, columns of the row's own product. They are left out
            on both sides, except for the target.
    """
    ignore = ignore.scatter(1, targets[:, None], False)
    log_probs = at_least_float32(logits).masked_fill(ignore, float('-inf')).log_softmax(dim=1)
    soft = at_least_float32(soft_logits).detach().masked_fill(ignore, float('-inf')).softmax(dim=1)
    log_probs = log_probs.masked_fill(ignore, 0.0)  # 0 * -inf is no number
    hard = F.nll_loss(log_probs, targets)
    return (1 - alpha) * hard - alpha * (soft * log_probs).sum(dim=1).mean()


def soft_contrast(
    feats: dict[str, Tensor],
    teacher_feats: dict[str, Tensor],
    queue: PairQueue,
    ids: Tensor,
    targets: Tensor,
    scale: Tensor,
    alpha: float,
) -> tuple[Tensor, Tensor, Callable[[], None]]:
    """ALBEF's image-text contrast: both directions, over the global batch and the queue.

    Args:
        feats: ``image`` and ``text``, (B, D) L2-normalised each.
        teacher_feats: the same of the momentum model.
        queue: is read here, and written by what this returns.
        ids: (G,) identities of the global batch.
        targets: (B,) this rank's rows in it.
        scale: scalar 1 / tau.
        alpha: weight of the soft targets.

    Returns:
        Loss and accuracy, scalars; the function that writes the queue.
    """
    own_ids = ids[targets]
    batch = {name: gather(value.detach()) for name, value in teacher_feats.items()}
    images, texts, other_ids = queue.extend(batch['image'], batch['text'], ids)
    same = own_ids[:, None] == other_ids
    total = right = 0.0
    for name, others in (('image', texts), ('text', images)):
        logits = similarity_logits(feats[name], others, scale)
        soft = similarity_logits(teacher_feats[name], others, scale.detach())
        total = total + soft_info_nce(logits, targets, soft, alpha, same) / 2
        right = right + accuracy(logits, targets, same) / 2
    return total, right, queue.later(batch['image'], batch['text'], ids)
