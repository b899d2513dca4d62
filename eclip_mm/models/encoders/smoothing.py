"""Patch tokens averaged over their neighbours."""

import torch.nn.functional as F
from torch import Tensor


def smooth(patch_tokens: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """Average each patch token over a window of the grid.

    Args:
        patch_tokens: (B, N, C), row by row.
        grid: (h, w) with N = h * w.
        window: side of the window, an odd number of tokens. At the border
            the mean is over the tokens that there are.

    Returns:
        (B, N, C).

    Raises:
        ValueError: the tokens are not those of the whole grid.
    """
    if patch_tokens.shape[1] != grid[0] * grid[1]:
        raise ValueError(
            f'image_encoder.smooth_tokens={window} needs all {grid[0]} x {grid[1]} patches, but '
            f'there are {patch_tokens.shape[1]}: set image_encoder.patch_dropout to 0'
        )
    on_grid = patch_tokens.transpose(1, 2).unflatten(2, grid)
    mean = F.avg_pool2d(on_grid, window, stride=1, padding=window // 2, count_include_pad=False)
    return mean.flatten(2).transpose(1, 2)
