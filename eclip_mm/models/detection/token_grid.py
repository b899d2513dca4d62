"""Where the tokens of a batch lie in their pictures."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.models.layers.transformer.utils import coordinate_to_encoding
from torch import Tensor


@dataclass
class TokenGrid:
    """Places of the cells of a feature map, as fractions of each picture.

    A cell covers the pixels that the backbone's stride says. It does not follow
    from the sides of the picture and of the map: pictures are padded to whole
    cells, and 70 pixels in 5 cells of 16 are not 14 pixels each.

    Attributes:
        shape: (h, w) of the map.
        cell: (B, 2) width and height of a cell.
        padding: (B, h * w) bool, True for cells that begin outside their
            picture; None if there are none.
    """

    shape: tuple[int, int]
    cell: Tensor
    padding: Tensor | None

    @classmethod
    def of(cls, shape: tuple[int, int], stride: float, img_shapes: Tensor) -> 'TokenGrid':
        """
        Args:
            shape: (h, w) of the map of the padded batch.
            stride: side of a cell in pixels.
            img_shapes: (B, 2) height and width of each picture without padding.
        """
        grid = cls(shape, stride / img_shapes.flip(1).float(), None)
        starts = (grid.columns - grid.cell[:, :1] / 2, grid.rows - grid.cell[:, 1:] / 2)
        # the end of a picture need not be a whole number of cells: a bit of room for rounding
        outside = [start > 1 - 1e-4 for start in starts]
        padding = (outside[1].unsqueeze(2) | outside[0].unsqueeze(1)).flatten(1)
        return cls(shape, grid.cell, padding if padding.any() else None)

    @property
    def columns(self) -> Tensor:
        """(B, w) x of the centres, in [0, 1] inside a picture and above 1 in its padding."""
        return self._centres(self.shape[1], self.cell[:, 0])

    @property
    def rows(self) -> Tensor:
        """(B, h) y of the centres."""
        return self._centres(self.shape[0], self.cell[:, 1])

    @property
    def positions(self) -> Tensor:
        """(B, h * w, 2) x and y of the centres."""
        columns, rows = self.columns, self.rows
        xs = columns[:, None].expand(-1, self.shape[0], -1)
        ys = rows[..., None].expand(-1, -1, self.shape[1])
        return torch.stack([xs, ys], dim=-1).flatten(1, 2)

    def as_map(self, tokens: Tensor) -> Tensor:
        """(B, h * w, C) as (B, C, h, w), zero in the padding."""
        if self.padding is not None:
            tokens = tokens.masked_fill(self.padding[..., None], 0.0)
        return tokens.transpose(1, 2).unflatten(2, self.shape)

    @staticmethod
    def _centres(count: int, cell: Tensor) -> Tensor:
        return (torch.arange(count, device=cell.device) + 0.5) * cell[:, None]


def encode_places(places: Tensor, dims: int) -> Tensor:
    """Sine encodings of points or boxes.

    Args:
        places: (B, T, 2) x and y, or (B, T, 4) cxcywh, as fractions of the picture.
        dims: wanted width.

    Returns:
        (B, T, dims) float32; the last channels are zero if ``dims`` cannot be divided
        among the coordinates.
    """
    num_feats = dims // places.shape[-1] // 2 * 2
    encoding = coordinate_to_encoding(places.float(), num_feats)
    return F.pad(encoding, (0, dims - encoding.shape[-1]))
