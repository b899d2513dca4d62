"""Layers of attention over one sequence and over another one, as BERT and BLIP order them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention, its residual and the norm behind the sum.

    Args:
        embed_dims: width H of the states that ask.
        num_heads: number of heads.
        other_dims: width of the states that are asked; None for ``embed_dims``.
        dropout: of the weights and of the result.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        other_dims: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}')
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key, self.value = (nn.Linear(other_dims or embed_dims, embed_dims) for _ in range(2))
        self.out = nn.Linear(embed_dims, embed_dims)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Tensor,
        others: Tensor,
        mask: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """
        Args:
            states: (B, M, H).
            others: (B, R, other_dims).
            mask: (B, R) bool, False at padding, or (B, M, R) bool, which state
                sees which; None if all see all.
            maps: receives the weights (B, heads, M, R), with gradient; None
                for a faster computation without them.

        Returns:
            (B, M, H).
        """
        query, key, value = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.query(states), self.key(others), self.value(others))
        )
        if mask is not None:
            mask = mask[:, None, None] if mask.dim() == 2 else mask[:, None]
        rate = self.dropout.p if self.training else 0.0
        if maps is None:
            found = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate)
        else:
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            if mask is not None:
                logits = logits.masked_fill(~mask, float('-inf'))
            weights = logits.softmax(dim=-1)
            if torch.is_grad_enabled() and not weights.requires_grad:
                weights.requires_grad_()  # Grad-CAM of a model whose weights are all frozen
            maps.append(weights)
            found = F.dropout(maps[-1], rate) @ value
        found = self.dropout(self.out(found.transpose(1, 2).flatten(2)))
        return self.norm(states + found)


class FusionLayer(nn.Module):
    """Self-attention, optional cross-attention and FFN, each followed by a norm.

    Args:
        embed_dims, num_heads, dropout: see :class:`Attention`.
        ffn_dims: width of the FFN.
        has_cross: whether there is a cross-attention.
        other_dims: width of what it asks; None for ``embed_dims``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        ffn_dims: int,
        has_cross: bool = True,
        other_dims: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.own = Attention(embed_dims, num_heads, dropout=dropout)
        self.cross = Attention(embed_dims, num_heads, other_dims, dropout) if has_cross else None
        self.up, self.down = nn.Linear(embed_dims, ffn_dims), nn.Linear(ffn_dims, embed_dims)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Tensor,
        mask: Tensor | None = None,
        others: Tensor | None = None,
        other_mask: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """
        Args:
            states: (B, M, H).
            mask: of ``states``, see :class:`Attention`.
            others: (B, R, other_dims); None leaves the cross-attention out.
            other_mask: of ``others``.
            maps: receives the weights of the cross-attention, or of the
                self-attention in a layer that has no other.

        Returns:
            (B, M, H).
        """
        crosses = self.cross is not None and others is not None
        states = self.own(states, states, mask, None if crosses else maps)
        if crosses:
            states = self.cross(states, others, other_mask, maps)
        return self.norm(states + self.dropout(self.down(F.gelu(self.up(states)))))
