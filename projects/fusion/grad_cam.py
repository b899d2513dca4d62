"""Grad-CAM of matching: which patches speak for a text (the rule of ALBEF)."""

from collections.abc import Callable

import torch
from torch import Tensor


def grad_cam(
    score: Callable[[list[Tensor]], Tensor], word_mask: Tensor, layer: int = -1
) -> Tensor:
    """Attention times its gradient where that is positive, mean over heads and words.

    Args:
        score: fills a list with the attention (B, heads, M, N) of words to
            patches in each layer, and returns the (B,) logits of belonging
            together. It is called with gradients on.
        word_mask: (B, M) bool, False at padding.
        layer: index of the layer that is read.

    Returns:
        (B, N), at least 0.
    """
    maps: list[Tensor] = []
    with torch.enable_grad():
        logits = score(maps)
        (grad,) = torch.autograd.grad(logits.sum(), maps[layer])
    found = (maps[layer] * grad.clamp(min=0)).detach().mean(dim=1)  # (B, M, N)
    words = word_mask.to(found)
    return torch.einsum('bmn,bm->bn', found, words) / words.sum(dim=1, keepdim=True).clamp(min=1)
