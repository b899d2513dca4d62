"""Object queries taken from the tokens of a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor


def select_tokens(scores: Tensor, num_queries: int, num_groups: int = 1) -> Tensor:
    """The tokens that become queries: the highest local maxima of a map of scores.

    A local maximum is no lower than its eight neighbours. If there are too few
    of them, the highest other tokens follow; if a picture has too few tokens,
    they are repeated.

    Args:
        scores: (B, h, w) in [0, 1], negative in the padding.
        num_queries: T.
        num_groups: groups of queries. The first are the tokens of the scores.
            Those of a further group are of scores whose logits have Gumbel
            noise, so that each group starts from somewhat other places of the
            same products.

    Returns:
        (B, num_groups * T) indices of tokens, each group from high to low.
    """
    num_tokens = scores[0].numel()
    chosen = []
    for group in range(num_groups):
        current = scores
        if group:
            noise = -torch.empty_like(scores).exponential_().log()
            current = (torch.logit(scores.clamp(min=0), eps=1e-6) + noise).sigmoid()
            current = torch.where(scores < 0, scores, current)
        highest = F.max_pool2d(current[:, None], 3, stride=1, padding=1)[:, 0]
        # other tokens lie below all maxima, and the padding below them
        ranked = torch.where((current >= highest) | (current < 0), current, current - 1)
        ranked = torch.where(current < 0, current - 1, ranked).flatten(1)
        best = ranked.topk(min(num_queries, num_tokens), dim=1).indices
        repeats = -(-num_queries // num_tokens)
        chosen.append(best.repeat(1, repeats)[:, :num_queries])
    return torch.cat(chosen, dim=1)


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """(B, T, C) of (B, N, C) tokens and (B, T) indices."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
