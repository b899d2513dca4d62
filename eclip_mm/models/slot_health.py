"""Figures of the assignment of tokens to queries, which are logged with the losses."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.losses import query_entropy


@torch.no_grad()
def slot_health(assign_map: Tensor, positive_index: Tensor) -> dict[str, Tensor]:
    """Three figures that distinguish a healthy assignment from a collapsed one.

    Args:
        assign_map: M (B, N, T).
        positive_index: r (B,).

    Returns:
        ``slot_mass``: fraction of all tokens that the positive query holds
        (1/T if all queries are equal); ``slot_entropy``: entropy of its
        distribution over the tokens, divided by log N (1 if it is flat);
        ``slot_dead``: fraction of queries that are no token's first choice.
    """
    rows = torch.arange(len(positive_index), device=positive_index.device)
    num_tokens, num_queries = assign_map.shape[1:]
    mass = assign_map.mean(dim=1)[rows, positive_index]
    entropy = query_entropy(assign_map)[rows, positive_index] / math.log(num_tokens)
    winners = F.one_hot(assign_map.argmax(dim=2), num_queries).any(dim=1)  # (B, T)
    return dict(
        slot_mass=mass.mean(), slot_entropy=entropy.mean(), slot_dead=1 - winners.float().mean()
    )
