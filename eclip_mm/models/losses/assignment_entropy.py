"""Entropy regularisation of the assignment (Eq. 10)."""

import math

import torch
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


def query_entropy(assign_map: Tensor, eps: float = 1e-8) -> Tensor:
    """Entropy of each query's distribution over the tokens, in nats.

    Args:
        assign_map: M (B, N, T), rows summing to 1 over T.

    Returns:
        (B, T), between 0 and log N. M is first normalised over the tokens,
        since H in Eq. 10 is the entropy of a distribution over N tokens.
    """
    m = at_least_float32(assign_map)
    m = m / (m.sum(dim=1, keepdim=True) + eps)
    return -(m * (m + eps).log()).sum(dim=1)


def assignment_entropy_loss(
    assign_map: Tensor, positive_index: Tensor, reduce_negatives: str = 'sum'
) -> Tensor:
    """L_R = H_r + sum over t != r of (log N - H_t), mean over the batch (Eq. 10).

    Args:
        assign_map: M (B, N, T) of the last block.
        positive_index: r (B,) int64.
        reduce_negatives: ``sum`` as in the paper, or ``mean``, with which the
            weight of the negative term does not depend on T.

    Returns:
        Scalar, float32 or more.
    """
    entropy = query_entropy(assign_map)  # (B, T)
    num_tokens, num_queries = assign_map.shape[1:]
    positive = torch.zeros_like(entropy, dtype=torch.bool).scatter(
        1, positive_index[:, None], True
    )
    sharp = entropy.gather(1, positive_index[:, None])[:, 0]  # (B,) of the positive query
    flat = (math.log(num_tokens) - entropy).masked_fill(positive, 0).sum(dim=1)
    if reduce_negatives == 'mean':
        flat = flat / max(num_queries - 1, 1)
    return (sharp + flat).mean()


@MODELS.register_module()
class AssignmentEntropyLoss(nn.Module):
    """:func:`assignment_entropy_loss` times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0, reduce_negatives: str = 'sum'):
        super().__init__()
        if reduce_negatives not in ('sum', 'mean'):
            raise ValueError(f"reduce_negatives must be 'sum' or 'mean', got {reduce_negatives!r}")
        self.loss_weight = loss_weight
        self.reduce_negatives = reduce_negatives

    def forward(self, assign_map: Tensor, positive_index: Tensor) -> Tensor:
        return self.loss_weight * assignment_entropy_loss(
            assign_map, positive_index, self.reduce_negatives
        )
