"""Where a model of streams looks: attention of the words, or Grad-CAM of matching."""

from collections.abc import Callable

import torch
from torch import Tensor

from projects.streams.outputs import StreamStates
from projects.streams.regions import Regions


def word_region_part(attention: Tensor, num_words: int, num_regions: int) -> Tensor:
    """(B, heads, M, 1 + K) of words to regions, out of an attention over both or to regions."""
    if attention.shape[-1] == num_regions:
        return attention
    return attention[:, :, :num_words, num_words:]


def mean_over_words(attention: Tensor, states: StreamStates) -> Tensor:
    """(B, K) mean over heads and words, the whole picture left out.

    Args:
        attention: (B, heads, M, 1 + K).
        states: which words are no padding.
    """
    words = states.word_mask.to(attention)
    per_word = attention.mean(dim=1)[..., 1:]
    return torch.einsum('bmk,bm->bk', per_word, words) / words.sum(dim=1, keepdim=True)


def attention_map(
    maps: list[Tensor], states: StreamStates, regions: Regions, grid: tuple[int, int], layer: int
) -> Tensor:
    """(B, h, w) what the words attend to in one layer.

    Args:
        maps: attention of each layer in which words and regions meet.
        states: of the pass that made them.
        regions: of the pictures.
        grid: (h, w).
        layer: index of the layer.
    """
    sizes = states.words.shape[1], states.regions.shape[1]
    scores = mean_over_words(word_region_part(maps[layer], *sizes), states)
    return regions.to_patches(scores[..., None]).squeeze(-1).unflatten(1, grid)


def grad_cam_map(
    read: Callable[[list[Tensor]], tuple[StreamStates, Tensor]],
    regions: Regions,
    grid: tuple[int, int],
    layer: int,
) -> Tensor:
    """(B, h, w) Grad-CAM of matching, by ALBEF's rule.

    Attention times its gradient, where that is positive: attention that speaks
    for the pair. Mean over heads and words.

    Args:
        read: fills a list with the attention of each layer, and returns the
            states and the (B,) logits of belonging together.
        regions: of the pictures.
        grid: (h, w).
        layer: index of the layer.
    """
    maps: list[Tensor] = []
    with torch.enable_grad():
        states, logits = read(maps)
        (grad,) = torch.autograd.grad(logits.sum(), maps[layer])
    found = (maps[layer] * grad.clamp(min=0)).detach()
    sizes = states.words.shape[1], states.regions.shape[1]
    scores = mean_over_words(word_region_part(found, *sizes), states)
    return regions.to_patches(scores[..., None]).squeeze(-1).unflatten(1, grid)
