"""What the boxes of queries add to the decoder: a bias of Eq. 2, and places to compare."""

import torch
from torch import Tensor, nn

from eclip_mm.models.detection.token_grid import TokenGrid, encode_places
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


class QueryPlaces(nn.Module):
    """Both of what a block of the decoder can know of the boxes of its queries.

    Args:
        embed_dims: width D of the queries.
        position_bias: whether there is a :class:`BoxPositionBias`.
        places: whether the self-attention compares encodings of the boxes, by
            a projection that is zero at the start.
    """

    def __init__(self, embed_dims: int, position_bias: bool, places: bool):
        super().__init__()
        self.bias = BoxPositionBias() if position_bias else None
        self.proj = nn.Linear(embed_dims, embed_dims, bias=False) if places else None
        if self.proj is not None:
            nn.init.zeros_(self.proj.weight)

    def forward(
        self, boxes: Tensor | None, grid: TokenGrid
    ) -> tuple[Tensor | None, Tensor | None]:
        """
        Args:
            boxes: (B, T, 4) cxcywh as fractions of the picture; None before
                the first block of learned queries.
            grid: of the tokens.

        Returns:
            The bias (B, N, T) and the places (B, T, D), None where there are none.
        """
        bias = places = None
        if boxes is not None and self.bias is not None:
            bias = self.bias(boxes, grid)
        if boxes is not None and self.proj is not None:
            places = self.proj(encode_places(boxes, self.proj.in_features))
        return bias, places
