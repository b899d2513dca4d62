"""One vector for a text, by the rules of :mod:`~eclip_mm.models.encoders.families`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32


def pool_text(
    tokens: Tensor,
    attention_mask: Tensor,
    pooling: str,
    input_ids: Tensor | None = None,
    eos_ids: Sequence[int] | None = None,
) -> Tensor:
    """The vector of each text.

    Args:
        tokens: (B, M, C).
        attention_mask: (B, M), 1 at what belongs to the text.
        pooling: a key of :data:`~eclip_mm.models.encoders.families.TEXT_POOLING`.
        input_ids: (B, M), for ``eos``.
        eos_ids: ids of the end of a text; None for the largest id of each.

    Returns:
        (B, C).
    """
    if pooling == 'cls':
        return tokens[:, 0]
    if pooling == 'mean':
        weights = attention_mask[..., None].to(at_least_float32(tokens).dtype)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    position = (attention_mask * places).argmax(dim=1)  # the last one
    if pooling == 'eos' and eos_ids is None:
        position = input_ids.argmax(dim=1)
    elif pooling == 'eos':
        is_eos = torch.zeros_like(input_ids, dtype=torch.bool)
        for eos_id in eos_ids:
            is_eos |= input_ids == eos_id
        is_eos &= attention_mask.bool()
        position = torch.where(is_eos.any(dim=1), is_eos.int().argmax(dim=1), position)
    return tokens[torch.arange(len(tokens), device=tokens.device), position]


@torch.no_grad()
def sees_last_word(encoder: nn.Module, avoid: Sequence[int]) -> bool:
    """Whether two texts that differ in their last word have different features.

    Found out by trying: whether a mask is causal is not always in the config.

    Args:
        encoder: text encoder, (ids, mask) -> (B, C).
        avoid: ids of special tokens, which are not to be taken for words; the
            last of them ends both texts.
    """
    parameter = next(encoder.parameters())
    if parameter.is_meta:
        return True  # nothing to try
    words = [i for i in range(encoder.vocab_size) if i not in avoid][-4:]
    ids = torch.tensor([[*words[:-2], word, *avoid[-1:]] for word in words[-2:]])
    ids = ids.to(parameter.device)
    training = encoder.training
    feats = encoder.eval()(ids, torch.ones_like(ids))
    encoder.train(training)
    # the two rows of a batch may be rounded differently
    return bool((feats[0] - feats[1]).abs().max() > 1e-6 * feats.abs().max())
