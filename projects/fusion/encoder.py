"""How two sequences meet: cross-attention, co-attention or one stream."""

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from projects.fusion.layers import FusionLayer

#: ``cross``: states ask others (ALBEF, BLIP); ``co``: both ask each other (ViLBERT, CAPTURE);
#: ``single``: one sequence of both (UNITER)
WIRINGS = ('cross', 'co', 'single')


@MODELS.register_module()
class FusionEncoder(nn.Module):
    """Layers in which the states of a text and of a picture meet.

    In each layer of ``co`` both streams read what the other one was before the
    layer. Widths are the same on both sides except for ``cross``, which maps
    the other side's width in its keys and values.

    Args:
        num_layers: number of layers.
        embed_dims: width H of the states.
        num_heads: number of heads.
        ffn_dims: width of the FFN; None for 4 H.
        wiring: one of :data:`WIRINGS`.
        other_dims: width of the other side, for ``cross`` alone.
        dropout: in attention and FFN.

    Raises:
        ValueError: an unknown wiring, or ``other_dims`` with another than ``cross``.
    """

    def __init__(
        self,
        num_layers: int,
        embed_dims: int,
        num_heads: int,
        ffn_dims: int | None = None,
        wiring: str = 'cross',
        other_dims: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if wiring not in WIRINGS:
            raise ValueError(f'wiring must be one of {", ".join(WIRINGS)}, got {wiring!r}')
        if wiring != 'cross' and other_dims not in (None, embed_dims):
            raise ValueError(
                f'wiring={wiring!r} needs one width on both sides: other_dims={other_dims} goes '
                "with wiring='cross' alone"
            )
        self.embed_dims, self.wiring = embed_dims, wiring
        options = dict(
            embed_dims=embed_dims,
            num_heads=num_heads,
            ffn_dims=ffn_dims or 4 * embed_dims,
            has_cross=wiring != 'single',
            other_dims=other_dims,
            dropout=dropout,
        )
        self.layers = nn.ModuleList(FusionLayer(**options) for _ in range(num_layers))
        self.other_layers = None
        if wiring == 'co':
            self.other_layers = nn.ModuleList(FusionLayer(**options) for _ in range(num_layers))

    def forward(
        self,
        states: Tensor,
        mask: Tensor | None = None,
        others: Tensor | None = None,
        other_mask: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            states: (B, M, H), the words.
            mask: (B, M) bool, False at padding; for ``cross`` also (B, M, M),
                which state sees which. None if all see all.
            others: (B, R, other_dims), the patches. None, for ``cross``
                alone, leaves the cross-attention out.
            other_mask: (B, R) bool.
            maps: receives one tensor of attention weights a layer, with
                gradient: (B, heads, M, R) of the words to the patches, for
                ``single`` (B, heads, M + R, M + R).

        Returns:
            The states of both sides; with ``cross`` the others are as they were.
        """
        if self.wiring == 'single':
            sizes = states.shape[1], others.shape[1]
            masks = [
                torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if m is None else m
                for x, m in ((states, mask), (others, other_mask))
            ]
            both, both_mask = torch.cat([states, others], dim=1), torch.cat(masks, dim=1)
            for layer in self.layers:
                both = layer(both, both_mask, maps=maps)
            return both.split(sizes, dim=1)
        for index, layer in enumerate(self.layers):
            found = layer(states, mask, others, other_mask, maps)
            if self.wiring == 'co':
                others = self.other_layers[index](others, other_mask, states, mask)
            states = found
        return states, others


def decoder_of(encoder: FusionEncoder, **options) -> FusionEncoder:
    """An encoder with the same cross-attention and FFN, and a self-attention of its own (BLIP).

    Args:
        encoder: of ``wiring='cross'``, whose layers are shared.
        options: with which it was built.
    """
    decoder = FusionEncoder(**options)
    for mine, its in zip(decoder.layers, encoder.layers, strict=True):
        for name in ('cross', 'up', 'down', 'norm'):
            setattr(mine, name, getattr(its, name))
    return decoder


def causal_mask(mask: Tensor) -> Tensor:
    """(B, M, M) bool: each word sees itself and the words before it, but no padding (B, M)."""
    size = mask.shape[1]
    order = torch.ones(size, size, dtype=torch.bool, device=mask.device).tril()
    # the first word stays visible, so that no row of weights is empty
    return order & (mask.bool() | (torch.arange(size, device=mask.device) == 0))[:, None]
