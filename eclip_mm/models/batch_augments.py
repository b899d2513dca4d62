"""Augmentations that need other products of the batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.registry import MODELS


@MODELS.register_module()
class ProductMosaic(nn.Module):
    """Makes the first picture one cell of a mosaic, the other cells other products.

    Photos that show nothing but their product (a full shelf, a hand with an
    apple) never ask the decoder *where* the product is: any token tells it what
    the picture is. In a mosaic the tokens of one cell do.

    Args:
        prob: share of the pictures that become a mosaic.
        grids: cells per side, one of these at random.
        jitter: how far the inner edges move at most, as a share of a cell.
    """

    def __init__(self, prob: float = 0.5, grids: Sequence[int] = (2,), jitter: float = 0.3):
        super().__init__()
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        if not grids or min(grids) < 2:
            raise ValueError(f'grids must be numbers of cells per side from 2 on, got {grids}')
        if not 0 <= jitter < 0.5:
            raise ValueError(f'jitter must be in [0, 0.5), got {jitter}')
        self.prob, self.grids, self.jitter = prob, tuple(grids), jitter

    def forward(self, images: Tensor, product_ids: list[str]) -> Tensor:
        """
        Args:
            images: (B, V, 3, H, W) float32; only [:, 0] changes.
            product_ids: of the B rows. A row with too few other products in
                the batch for its grid keeps its picture.

        Returns:
            (B, V, 3, H, W), a new tensor. Draws come from torch's CPU generator.
        """
        mosaics = images.clone()
        for row in (torch.rand(len(images)) < self.prob).nonzero().flatten().tolist():
            grid = self.grids[int(torch.randint(len(self.grids), ()))]
            shown = other_products(row, product_ids, grid**2 - 1)
            if len(shown) < grid**2 - 1:
                continue
            shown.insert(int(torch.randint(grid**2, ())), row)
            ys, xs = (self._edges(side, grid) for side in images.shape[-2:])
            for place, source in enumerate(shown):
                rows = slice(*ys[place // grid : place // grid + 2])
                columns = slice(*xs[place % grid : place % grid + 2])
                size = (rows.stop - rows.start, columns.stop - columns.start)
                mosaics[row, 0, :, rows, columns] = F.interpolate(
                    images[source, :1], size, mode='bilinear', antialias=True
                )[0]
        return mosaics

    def _edges(self, side: int, grid: int) -> list[int]:
        moved = torch.arange(1, grid) + self.jitter * (2 * torch.rand(grid - 1) - 1)
        return [0, *(moved * side / grid).round().int().tolist(), side]


def other_products(row: int, product_ids: list[str], count: int) -> list[int]:
    """Up to ``count`` rows at random, of different products, none of them the row's own."""
    chosen: dict[str, int] = {}
    for other in torch.randperm(len(product_ids)).tolist():
        if product_ids[other] != product_ids[row] and len(chosen) < count:
            chosen.setdefault(product_ids[other], other)
    return list(chosen.values())
