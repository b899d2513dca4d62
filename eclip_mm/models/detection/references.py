"""Boxes from assignments: what the pretrained decoder knows of positions."""

import math

import torch
from torch import Tensor


def token_positions(grid: tuple[int, int], cell: Tensor, img_shapes: Tensor) -> Tensor:
    """Centres of the cells of a feature map, as fractions of each picture.

    Args:
        grid: (h, w) of the map.
        cell: (2,) width and height of a cell in pixels of the padded batch.
        img_shapes: (B, 2) height and width of each picture without padding.

    Returns:
        (B, h * w, 2) x and y, in [0, 1] inside a picture and above 1 in its padding.
    """
    ys, xs = torch.meshgrid(
        torch.arange(grid[0], device=cell.device),
        torch.arange(grid[1], device=cell.device),
        indexing='ij',
    )
    centres = (torch.stack([xs, ys], dim=-1).reshape(1, -1, 2) + 0.5) * cell
    return centres / img_shapes.flip(1).to(centres)[:, None]


def assignment_boxes(assign_map: Tensor, positions: Tensor, sharpness: float = 2.0) -> Tensor:
    """Mean and spread of each query's assignment, as a box.

    The box is sqrt(12) standard deviations wide, since a uniform distribution
    over a width w has the standard deviation w / sqrt(12).

    Args:
        assign_map: M (B, N, T), non-negative.
        positions: (B, N, 2) x and y of the tokens.
        sharpness: power of M that is used as weight. With the softmax over
            queries every token belongs to some queries, and the small parts
            that all queries have of the background draw each mean to the
            centre: with a power of 1, a query with 10 of 400 tokens and 1% of
            the others has more than a quarter of its mass in the background.

    Returns:
        (B, T, 4) boxes cxcywh as fractions of the picture, inside [0, 1].
    """
    weights = assign_map**sharpness
    weights = weights / (weights.sum(dim=1, keepdim=True) + 1e-8)
    weights = weights.transpose(1, 2)  # (B, T, N)
    mean = weights @ positions
    variance = weights @ positions**2 - mean**2
    # an assignment to a single token has no spread, and the slope of the root is infinite at 0
    size = (variance.clamp(min=0) + 1e-6).sqrt() * math.sqrt(12)
    return torch.cat([mean, size], dim=-1).clamp(0, 1)
