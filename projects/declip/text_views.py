"""A second view of a text: two words change places, or some are left out."""

import torch
from torch import Tensor


def change_texts(
    input_ids: Tensor,
    attention_mask: Tensor,
    draws: Tensor,
    first_id: int = 999,
    delete_prob: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Swap two words of a text or delete some, each with probability 1/2.

    Ids below ``first_id`` are no words, and keep their places when words are swapped. A text with
    fewer than two words stays as it is.

    Args:
        input_ids, attention_mask: (B, M).
        draws: (B, M' >= M, 3) uniform in [0, 1).
        first_id: the first id of a word.
        delete_prob: of each word; the first word by the draws is kept in any case.

    Returns:
        Ids and mask, (B, M) each: what was deleted is padding behind the text.
    """
    num_tokens = input_ids.shape[1]
    kind, place, drop = draws.to(input_ids.device)[:, :num_tokens].unbind(dim=-1)
    mask = attention_mask.bool()
    is_word = mask & (input_ids >= first_id)
    enough = is_word.sum(dim=1, keepdim=True) >= 2
    swaps = kind[:, :1] < 0.5

    # the two words with the smallest draws change places
    order = torch.arange(num_tokens, device=input_ids.device).repeat(len(input_ids), 1)
    pair = place.masked_fill(~is_word, 2.0).argsort(dim=1, stable=True)[:, :2]
    if num_tokens >= 2:
        swapped = order.scatter(1, pair, pair.flip(1))
        order = torch.where(swaps & enough, swapped, order)

    kept = place.masked_fill(~is_word, 2.0).argmin(dim=1, keepdim=True)
    deleted = is_word & (drop < delete_prob) & ~swaps & enough
    deleted = deleted.scatter(1, kept, False)
    behind = (deleted | ~mask).long().argsort(dim=1, stable=True)  # False first, in their order
    order = order.gather(1, behind)
    return input_ids.gather(1, order), (mask & ~deleted).gather(1, behind).to(attention_mask.dtype)
