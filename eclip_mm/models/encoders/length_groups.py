"""Texts of a batch without most of their padding."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def encode_by_length(
    encode: Callable[[Tensor, Tensor], Tensor],
    input_ids: Tensor,
    attention_mask: Tensor,
    num_groups: int,
    words: nn.Embedding | None = None,
) -> Tensor:
    """``encode`` on groups of texts of similar length, each cut to its longest text.

    Product titles are short beside the longest of their batch: one padded
    batch of them is half padding. Padding changes no text's result, so the
    groups' results are those of the whole batch, up to rounding.

    Args:
        encode: (tokens, attention_mask) -> one row for each text, which
            does not depend on the other texts nor on padding.
        input_ids, attention_mask: (B, M).
        num_groups: groups of equal size; 1 is the batch as it is.
        words: looks the tokens of all groups up at once, so that ``encode``
            gets their vectors instead of ids: the gradient of each lookup
            fills a tensor of the vocabulary's size.

    Returns:
        (B, C), in the order of the batch.
    """
    num_texts, width = attention_mask.shape
    groups, widths = [slice(None)], [width]
    if num_groups > 1 and num_texts > 1:
        # the last token's place, not the number of tokens: right for padding on the left, too
        places = torch.arange(1, width + 1, device=attention_mask.device)
        ends, order = (attention_mask * places).amax(dim=1).sort(stable=True)
        # one synchronisation with the device
        ends = torch.stack([group[-1] for group in ends.chunk(num_groups)]).tolist()
        if ends[0] < width:  # otherwise there is nothing to cut
            groups, widths = order.chunk(num_groups), ends
    tokens = [input_ids[group, :end] for group, end in zip(groups, widths, strict=True)]
    if words is not None:
        vectors = words(torch.cat([ids.flatten() for ids in tokens]))
        vectors = vectors.split([ids.numel() for ids in tokens])
        tokens = [v.view(*ids.shape, -1) for v, ids in zip(vectors, tokens, strict=True)]
    rows = [
        encode(group_tokens, attention_mask[group, :end])
        for group_tokens, group, end in zip(tokens, groups, widths, strict=True)
    ]
    return rows[0] if len(rows) == 1 else torch.cat(rows)[order.argsort()]
