"""Attention over one sequence, or of one sequence over another, as BERT's layers do it."""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention, its residual and its norm behind the sum.

    Args:
        embed_dims: width of both sequences.
        num_heads: number of heads.
        dropout: of the weights and of the result.
        eps: of the norm.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float, eps: float = 1e-12):
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                f'num_heads={num_heads} does not divide the width of the states, {embed_dims}'
            )
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(embed_dims, embed_dims) for _ in range(4)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, others: Tensor, mask: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        """
        Args:
            states: (B, M, H) that ask.
            others: (B, R, H) that are asked.
            mask: (B, R) bool, False at padding.
            maps: receives the weights (B, heads, M, R), with gradient; None
                for a faster computation without them.
        """
        query, key, value = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.query(states), self.key(others), self.value(others))
        )
        mask = mask[:, None, None]
        rate = self.dropout.p if self.training else 0.0
        if maps is None:
            found = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate)
        else:
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            weights = logits.masked_fill(~mask, float('-inf')).softmax(dim=-1)
            maps.append(weights)
            found = F.dropout(weights, rate) @ value
        found = self.dropout(self.out(found.transpose(1, 2).flatten(2)))
        return self.norm(states + found)


class Layer(nn.Module):
    """Self-attention, cross-attention and FFN, each followed by a norm; any of the first two.

    Args:
        embed_dims, num_heads, dropout: see :class:`Attention`.
        ffn_dims: width of the FFN.
        attends: ``self``, ``cross`` or ``both``.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, ffn_dims: int, dropout: float, attends: str
    ):
        super().__init__()
        self.own = self.other = None
        if attends in ('self', 'both'):
            self.own = Attention(embed_dims, num_heads, dropout)
        if attends in ('cross', 'both'):
            self.other = Attention(embed_dims, num_heads, dropout)
        self.up, self.down = nn.Linear(embed_dims, ffn_dims), nn.Linear(ffn_dims, embed_dims)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states, mask, others=None, other_mask=None, maps=None) -> Tensor:
        if self.own is not None:
            own_maps = maps if self.other is None else None
            states = self.own(states, states, mask, own_maps)
        if self.other is not None:
            states = self.other(states, others, other_mask, maps)
        return self.norm(states + self.dropout(self.down(F.gelu(self.up(states)))))
