"""A bias on the logits of Eq. 2 from where a token lies relative to a query's box."""

import torch
from torch import Tensor, nn

from eclip_mm.models.detection.token_grid import TokenGrid
from eclip_mm.models.precision import at_least_float32


class BoxPositionBias(nn.Module):
    """Box-relative position bias of global cross-attention.

    Lin et al., DETR Does Not Need Multi-Scale or Locality Design (Plain-DETR,
    ICCV 2023), Section 4.1. For a box with the edges x1, x2 and a token at x, a
    small network maps (x - x1, x - x2) to a number; a second one does so with
    y. Their sum is added to the token's logit. Distances are in cells of the
    map and on a logarithmic scale: ``sign(d) log2(1 + |d|) / 3``.

    The last layers are zero at the start: the decoder begins as trained.

    Args:
        hidden_dims: width of the hidden layers.
    """

    def __init__(self, hidden_dims: int = 64):
        super().__init__()
        # no bias at the end: a constant changes no softmax
        self.along_x, self.along_y = (
            nn.Sequential(
                nn.Linear(2, hidden_dims), nn.ReLU(), nn.Linear(hidden_dims, 1, bias=False)
            )
            for _ in range(2)
        )
        for network in (self.along_x, self.along_y):
            nn.init.zeros_(network[-1].weight)

    def forward(self, boxes: Tensor, grid: TokenGrid) -> Tensor:
        """
        Args:
            boxes: (B, T, 4) cxcywh as fractions of the picture.
            grid: of the tokens.

        Returns:
            (B, N, T), N tokens row by row.
        """
        biases = []
        for axis, (network, places) in enumerate(
            ((self.along_x, grid.columns), (self.along_y, grid.rows))
        ):
            half = boxes[..., axis + 2] / 2
            edges = torch.stack([boxes[..., axis] - half, boxes[..., axis] + half], dim=-1)
            distances = places[:, None, :, None] - edges[:, :, None]  # (B, T, w, 2)
            distances = distances / grid.cell[:, axis, None, None, None]
            scaled = distances.sign() * distances.abs().add(1).log2() / 3
            biases.append(at_least_float32(network(scaled)).squeeze(-1))
        columns, rows = biases
        return (rows[..., None] + columns[:, :, None]).flatten(2).transpose(1, 2)
