"""Score maps S, from the assignments of the decoder or from patch features."""

import torch
import torch.nn.functional as F
from torch import Tensor


def check_blocks(blocks: str | list[int], num_blocks: int) -> None:
    """Check ``score_map_blocks``.

    Raises:
        ValueError: ``blocks`` does not name blocks of the decoder.
    """
    if blocks not in ('last', 'mean') and not (
        isinstance(blocks, (list, tuple))
        and blocks
        and all(isinstance(i, int) and -num_blocks <= i < num_blocks for i in blocks)
    ):
        raise ValueError(
            f"score_map_blocks must be 'last', 'mean' or a list of indices below "
            f'{num_blocks}, got {blocks!r}'
        )


def assignment_score_map(
    assign_maps: list[Tensor],
    grid: tuple[int, int],
    blocks: str | list[int] = 'last',
    query: int = 0,
) -> Tensor:
    """The positive query's column of M on the patch grid.

    Args:
        assign_maps: L tensors (B, N, T).
        grid: (h, w), N = h * w.
        blocks: ``last``, ``mean`` over all blocks, or a list of the indices of
            the blocks to average.
        query: index of the positive query.

    Returns:
        (B, h, w), in [0, 1].
    """
    if blocks == 'last':
        chosen = assign_maps[-1:]
    elif blocks == 'mean':
        chosen = assign_maps
    else:
        chosen = [assign_maps[i] for i in blocks]
    columns = torch.stack([m[:, :, query] for m in chosen]).mean(dim=0)
    return columns.unflatten(1, grid)


def similarity_score_map(
    patch_tokens: Tensor, prompt_feats: Tensor, grid: tuple[int, int]
) -> Tensor:
    """CLIP's map: the cosine of projected patch tokens and prompt.

    Args:
        patch_tokens: (B, N, D).
        prompt_feats: (B, D).
        grid: (h, w).

    Returns:
        (B, h, w), in [0, 1]: (1 + cosine) / 2 minus its smallest value in the
        picture. Region scores sum the map, so that a constant in it would
        favour large boxes.
    """
    cosine = torch.einsum(
        'bnd,bd->bn',
        F.normalize(patch_tokens.float(), dim=-1),
        F.normalize(prompt_feats.float(), dim=-1),
    )
    cosine = (cosine - cosine.amin(dim=1, keepdim=True)) / 2
    return cosine.unflatten(1, grid)
