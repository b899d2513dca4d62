"""Texts of a batch without most of their padding."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from eclip_mm.models.precision import cpu_has

#: Most passes that :func:`split_by_length` makes of a batch. Under autocast the gradients of all
#: passes are added in bf16.
MAX_PASSES = 4


@lru_cache(maxsize=1)
def pass_cost() -> int:
    """What a further pass through a text tower costs on this CPU, in tokens.

    A pass reads all weights, and writes and adds all of their gradients, whatever its size. On
    CPUs with AVX-512 this takes less time than 32 tokens. AMX multiplies matrices several times as
    fast and reads memory as slowly.
    """
    return 128 if cpu_has('amx_bf16') else 32


def split_by_length(ends: Sequence[int], cost: int, most: int = MAX_PASSES) -> list[int]:
    """Divide texts into the passes that take least time.

    A pass takes the time of its number of texts times the longest of them, and ``cost``. A pass
    has at least two texts: a compiled tower would be compiled again for one.

    Args:
        ends: (B,) lengths in ascending order, in tokens; B is at least 2.
        cost: of a pass, in tokens.
        most: largest number of passes.

    Returns:
        Numbers of texts, which sum to B.
    """
    ends = np.asarray(ends)
    # a pass ends before a longer text, or takes the last one of its length along
    longer = 1 + np.flatnonzero(ends[1:] > ends[:-1])
    stops = np.unique([0, *longer, *(longer - 1), len(ends)])
    sizes = stops - stops[:, None]  # of a pass from one stop (row) to another
    costs = np.where(sizes >= 2, sizes * ends[stops - 1] + float(cost), np.inf)
    spent, before = costs[0], []
    found = [(spent[-1], 0)]
    for passes in range(1, most):
        sums = spent[:, None] + costs
        before.append(sums.argmin(axis=0))
        spent = sums.min(axis=0)
        found.append((spent[-1], passes))
    places = [len(stops) - 1]
    for starts in reversed(before[: min(found)[1]]):
        places.append(starts[places[-1]])
    return np.diff(stops[[0, *reversed(places)]]).tolist()


def plan_groups(
    attention_mask: Tensor, num_groups: int | None
) -> tuple[list[Tensor | slice], list[int], Tensor | None]:
    """Divide the texts of a batch into groups of similar length.

    Args:
        attention_mask: (B, M).
        num_groups: groups of equal size; None for those of :func:`split_by_length` on a CPU, and
            one on any other device: its host would have to wait for the lengths, and small passes
            have as many kernels as large ones.

    Returns:
        Rows and number of tokens of each group; the order of all rows, None with one group.
    """
    num_texts, width = attention_mask.shape
    whole = [slice(None)], [width], None
    rule = num_groups is None
    if num_texts < 2 or num_groups == 1 or (rule and attention_mask.device.type != 'cpu'):
        return whole
    # the last token's place, not the number of tokens: right for padding on the left, too
    places = torch.arange(1, width + 1, device=attention_mask.device)
    ends, order = (attention_mask * places).amax(dim=1).sort(stable=True)
    if rule:
        ends = ends.tolist()
        sizes = split_by_length(ends, pass_cost())
        groups = order.split(sizes)
        widths = [ends[stop - 1] for stop in np.cumsum(sizes)]
    else:
        groups = order.chunk(num_groups)
        # one synchronisation with the device
        widths = torch.stack([group[-1] for group in ends.chunk(num_groups)]).tolist()
    if widths[0] == width:  # there is nothing to cut
        return whole
    return list(groups), widths, order


def encode_by_length(
    encode: Callable[[Tensor, Tensor], Tensor],
    input_ids: Tensor,
    attention_mask: Tensor,
    num_groups: int | None = None,
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
        num_groups: see :func:`plan_groups`; 1 is the batch as it is.
        words: looks the tokens of all groups up at once, so that ``encode``
            gets their vectors instead of ids: the gradient of each lookup
            fills a tensor of the vocabulary's size.

    Returns:
        (B, C), in the order of the batch.
    """
    groups, widths, order = plan_groups(attention_mask, num_groups)
    tokens = [input_ids[group, :end] for group, end in zip(groups, widths, strict=True)]
    if words is not None and num_groups != 1:
        vectors = words(torch.cat([ids.flatten() for ids in tokens]))
        vectors = vectors.split([ids.numel() for ids in tokens])
        tokens = [v.view(*ids.shape, -1) for v, ids in zip(vectors, tokens, strict=True)]
    rows = [
        encode(group_tokens, attention_mask[group, :end])
        for group_tokens, group, end in zip(tokens, groups, widths, strict=True)
    ]
    if order is None:
        return rows[0]
    return torch.cat(rows)[order.argsort()]
