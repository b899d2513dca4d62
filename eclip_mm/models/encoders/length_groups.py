"""Texts of a batch without most of their padding."""

from collections.abc import Callable

import torch
from torch import Tensor


def encode_by_length(
    encode: Callable[[Tensor, Tensor], Tensor],
    texts: Tensor,
    attention_mask: Tensor,
    num_groups: int,
) -> Tensor:
    """``encode`` on groups of texts of similar length, each cut to its longest text.

    Product titles are short beside the longest of their batch: one padded
    batch of them is half padding. Padding changes no text's result, so the
    groups' results are those of the whole batch, up to rounding.

    Args:
        encode: (texts, attention_mask) -> one row for each text, which
            does not depend on the other texts nor on padding.
        texts: (B, M) token ids, or (B, M, C) their vectors.
        attention_mask: (B, M).
        num_groups: groups of equal size; 1 is the batch as it is.

    Returns:
        (B, C), in the order of the batch.
    """
    num_texts, width = attention_mask.shape
    if num_groups <= 1 or num_texts < 2:
        return encode(texts, attention_mask)
    # the last token's place instead of the number of tokens: right for padding on the left, too
    places = torch.arange(1, width + 1, device=attention_mask.device)
    ends = (attention_mask * places).amax(dim=1)
    ends, order = ends.sort(stable=True)
    groups = order.chunk(num_groups)
    # one synchronisation with the device
    widths = torch.stack([group[-1] for group in ends.chunk(num_groups)]).tolist()
    if widths[0] == width:  # nothing to cut
        return encode(texts, attention_mask)
    rows = [
        encode(texts[group, :end], attention_mask[group, :end])
        for group, end in zip(groups, widths, strict=True)
    ]
    return torch.cat(rows)[order.argsort()]
