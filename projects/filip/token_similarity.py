"""Token-wise similarity: the best match of each token on the other side (FILIP, Section 3.1)."""

import torch
import torch.nn.functional as F
from mmengine.dist import get_dist_info
from torch import Tensor

from eclip_mm.models.precision import at_least_float32
from eclip_mm.utils.dist import gather


def token_similarity(
    tokens: Tensor,
    others: Tensor,
    mask: Tensor | None = None,
    other_mask: Tensor | None = None,
    max_elements: int = 2**27,
) -> Tensor:
    """The best match of each token among the other side's tokens, averaged over the tokens.

    ::

        s_bg = 1/K_b sum over the K_b tokens k of b of  max_l <tokens_bk, others_gl>

    The similarity is not symmetric: image to text and text to image are two
    calls.

    Args:
        tokens: (B, K, D) L2-normalised.
        others: (G, L, D) L2-normalised.
        mask: (B, K) bool, False at padding; None if there is none.
        other_mask: (G, L) bool with at least one True in each row.
        max_elements: number of token similarities computed at a time (2^27 are
            512 MiB in float32), but at least the B K L of one of the G others.

    Returns:
        (B, G), float32 or more also under autocast, since these are logits.
    """
    num_rows, num_tokens = tokens.shape[:2]
    step = max(1, max_elements // (num_rows * num_tokens * others.shape[1]))
    weight = torch.ones(tokens.shape[:2], device=tokens.device) if mask is None else mask
    weight = (weight / weight.sum(dim=1, keepdim=True)).to(at_least_float32(tokens))
    columns = []
    with torch.autocast(tokens.device.type, enabled=False):
        flat = at_least_float32(tokens).flatten(0, 1)
        for start in range(0, len(others), step):
            part = at_least_float32(others[start : start + step])
            similarity = (flat @ part.flatten(0, 1).T).view(num_rows, num_tokens, *part.shape[:2])
            if other_mask is not None:
                hidden = ~other_mask[start : start + step]
                similarity = similarity.masked_fill(hidden, float('-inf'))
            # not amax, which keeps all similarities for its gradient; max keeps only their places
            best = similarity.max(dim=3).values  # (B, K, step)
            columns.append((best * weight[..., None]).sum(dim=1))
    return torch.cat(columns, dim=1)


def mean_token(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, D) L2-normalised mean of (B, K, D) tokens, without padding."""
    if mask is not None:
        tokens = tokens * mask[..., None]
    return F.normalize(tokens.sum(dim=1), dim=-1)


def gather_padded(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Gather tokens and masks of all ranks, each of which has padded to its longest text.

    Args:
        tokens: (B, M, D); gradients flow back to them.
        mask: (B, M) bool.

    Returns:
        (G, M', D) and (G, M'), where M' is the largest M of any rank.
    """
    if get_dist_info()[1] == 1:
        return tokens, mask
    length = torch.tensor([mask.shape[1]], device=mask.device)
    missing = int(gather(length).max() - length)
    tokens, mask = F.pad(tokens, (0, 0, 0, missing)), F.pad(mask, (0, missing))
    return gather(tokens), gather(mask.to(torch.uint8)).bool()  # gloo gathers no bool
