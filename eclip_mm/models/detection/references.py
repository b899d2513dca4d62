"""Reference boxes of queries, and boxes as offsets from them."""

import math

import torch
from torch import Tensor

#: the largest factor by which a block changes the side of a box: exp(4) = 55
MAX_LOG_SCALE = 4.0


def assignment_boxes(assign_map: Tensor, positions: Tensor, sharpness: float = 2.0) -> Tensor:
    """Mean and spread of each query's assignment, as a box.

    The box is sqrt(12) standard deviations wide, since a uniform distribution
    over a width w has the standard deviation w / sqrt(12).

    Args:
        assign_map: M (B, N, T), non-negative.
        positions: (B, N, 2) x and y of the tokens.
        sharpness: see :func:`sharpen`.

    Returns:
        (B, T, 4) boxes cxcywh as fractions of the picture.
    """
    weights = sharpen(assign_map, sharpness)
    mean = weights @ positions
    variance = weights @ positions**2 - mean**2
    # an assignment to a single token has no spread, and the slope of the root is infinite at 0
    size = (variance.clamp(min=0) + 1e-6).sqrt() * math.sqrt(12)
    return torch.cat([mean, size], dim=-1)


def sharpen(assign_map: Tensor, sharpness: float = 2.0) -> Tensor:
    """Weights of a mean over tokens for each query.

    With the softmax over queries every token belongs to some queries, and the
    small parts that all queries have of the background draw each mean to the
    centre: with a power of 1, a query with 10 of 400 tokens and 1% of the
    others has more than a quarter of its mass in the background.

    Args:
        assign_map: M (B, N, T), non-negative.
        sharpness: power of M that is used as weight.

    Returns:
        (B, T, N); rows sum to 1, or to 0 for a query without any token.
    """
    weights = assign_map**sharpness
    return (weights / (weights.sum(dim=1, keepdim=True) + 1e-8)).transpose(1, 2)


def move_boxes(references: Tensor, offsets: Tensor) -> Tensor:
    """Boxes from offsets relative to references: R-CNN's coding, which has no edge to saturate at.

    Args:
        references: (..., 4) cxcywh as fractions of the picture.
        offsets: (..., 4) shift of the centre in sides of the reference, and
            logarithm of the factor of its sides.

    Returns:
        (..., 4) cxcywh.
    """
    centres, sizes = references.split(2, dim=-1)
    shifts, factors = offsets.split(2, dim=-1)
    factors = factors.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
    return torch.cat([centres + shifts * sizes, sizes * factors.exp()], dim=-1)
