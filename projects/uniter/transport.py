"""Word-region alignment by optimal transport (UNITER)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.precision import at_least_float32


def cosine_cost(words: Tensor, regions: Tensor) -> Tensor:
    """(B, M, R) one minus the cosine of (B, M, D) words and (B, R, D) regions."""
    words, regions = (F.normalize(at_least_float32(x), dim=-1) for x in (words, regions))
    return 1 - words @ regions.transpose(1, 2)


@torch.no_grad()
def transport_plan(
    cost: Tensor, word_mask: Tensor, region_mask: Tensor, beta: float = 0.5, steps: int = 50
) -> Tensor:
    """The plan that moves equal shares of words to equal shares of regions at the least cost.

    Proximal point iterations (IPOT, Xie et al., 2019): each step solves the
    problem with an entropy term relative to the plan of the step before, by
    one scaling of rows and columns. The plan approaches the exact one, unlike
    that of a fixed entropy term.

    Args:
        cost: (B, M, R).
        word_mask: (B, M) bool, False at padding.
        region_mask: (B, R) bool, False at padding.
        beta: weight of the entropy term.
        steps: number of iterations.

    Returns:
        (B, M, R), 0 at padding; each row's entries sum to 1 / number of words
        up to the error of the iterations, and each column's to 1 / number of
        regions.
    """
    cost = at_least_float32(cost)
    real = word_mask[:, :, None] & region_mask[:, None, :]
    rows, columns = (mask.to(cost) for mask in (word_mask, region_mask))
    rows, columns = (mask / mask.sum(dim=1, keepdim=True) for mask in (rows, columns))
    kernel = torch.exp(-cost / beta) * real
    plan = real.to(cost)
    scale = columns  # of the columns; any positive start
    for _ in range(steps):
        weighted = kernel * plan
        row_scale = rows / (weighted @ scale[..., None]).squeeze(-1).clamp(min=1e-30)
        scale = columns / (row_scale[:, None] @ weighted).squeeze(1).clamp(min=1e-30)
        plan = row_scale[..., None] * weighted * scale[:, None]
    return plan


def transport_distance(
    words: Tensor,
    regions: Tensor,
    word_mask: Tensor,
    region_mask: Tensor,
    beta: float = 0.5,
    steps: int = 50,
) -> Tensor:
    """The cost of moving the words of each text onto the regions of its picture.

    Args:
        words: (B, M, D).
        regions: (B, R, D).
        word_mask, region_mask, beta, steps: see :func:`transport_plan`, through
            which no gradient flows.

    Returns:
        (B,) sum over the plan of plan times cosine distance, float32 or more.
    """
    with torch.autocast(words.device.type, enabled=False):
        cost = cosine_cost(words, regions)
        plan = transport_plan(cost.detach(), word_mask, region_mask, beta, steps)
        return (plan * cost).sum(dim=(1, 2))
