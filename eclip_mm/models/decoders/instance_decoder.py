"""The instance decoder: L blocks of slot attention and self-attention (Section 3.2)."""

import torch
from torch import Tensor, nn

from eclip_mm.models.decoders.slot_attention import SlotAttention
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


class InstanceDecoderBlock(nn.Module):
    """Slot attention, then self-attention among the queries, then the FFN (pre-norm)."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        ffn_ratio: int,
        dropout: float,
        softmax_over: str = 'queries',
        aligned_init: bool = False,
        background: float | None = None,
    ):
        super().__init__()
        self.slot_attn = SlotAttention(
            embed_dims,
            softmax_over=softmax_over,
            aligned_init=aligned_init,
            background=background,
        )
        self.norm_attn = nn.LayerNorm(embed_dims)
        self.self_attn = nn.MultiheadAttention(embed_dims, num_heads, dropout, batch_first=True)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, ffn_ratio * embed_dims),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_ratio * embed_dims, embed_dims),
        )

    def forward(
        self,
        patch_tokens: Tensor,
        queries: Tensor,
        instance_feats: Tensor,
        padding_mask: Tensor | None = None,
        bias: Tensor | None = None,
        places: Tensor | None = None,
        num_groups: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            patch_tokens, queries, instance_feats, padding_mask, bias,
                num_groups: as for :class:`SlotAttention`. The self-attention
                of a group sees that group alone.
            places: (B, T, D), added to what the self-attention compares
                (queries and keys), and not to what it carries (values).

        Returns:
            H^l (B, T, D) and M (B, N, T).
        """
        h, assign_map = self.slot_attn(
            patch_tokens, queries, instance_feats, padding_mask, bias, num_groups
        )
        values = self.norm_attn(h)
        keys = values if places is None else values + places
        if num_groups > 1:
            values, keys = (_split_groups(x, num_groups) for x in (values, keys))
        attended = self.self_attn(keys, keys, values, need_weights=False)[0]
        h = h + attended.reshape(h.shape)
        h = h + self.ffn(self.norm_ffn(h))
        return h, assign_map


def _split_groups(x: Tensor, num_groups: int) -> Tensor:
    """(B, K * T, D) as (B * K, T, D)."""
    return x.unflatten(1, (num_groups, -1)).flatten(0, 1)


@MODELS.register_module()
class InstanceDecoder(nn.Module):
    """Aggregates instance representations H^L from patch tokens (Section 3.2).

    H^0 is zero, and the queries enter only the similarity of Eq. 2. Therefore
    H^L carries visual information alone.

    Args:
        embed_dims: joint width D.
        num_blocks: L.
        num_heads: heads of the self-attention (slot attention has one).
        ffn_ratio: hidden width of the FFN over D.
        dropout: of self-attention and FFN.
        softmax_over, aligned_init, background: see :class:`SlotAttention`.
    """

    def __init__(
        self,
        embed_dims: int = 512,
        num_blocks: int = 6,
        num_heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.0,
        softmax_over: str = 'queries',
        aligned_init: bool = False,
        background: float | None = None,
    ):
        super().__init__()
        self.norm_tokens = nn.LayerNorm(embed_dims)
        self.blocks = nn.ModuleList(
            InstanceDecoderBlock(
                embed_dims, num_heads, ffn_ratio, dropout, softmax_over, aligned_init, background
            )
            for _ in range(num_blocks)
        )
        self.norm_out = nn.LayerNorm(embed_dims)

    def forward(self, patch_tokens: Tensor, queries: Tensor) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            patch_tokens: Z (B, N, D), projected into the joint space.
            queries: Q (B, T, D).

        Returns:
            H^L (B, T, D) and the assignments M of the L blocks, each (B, N, T).
        """
        states, assign_maps = self.forward_blocks(patch_tokens, queries)
        return self.norm_out(states[-1]), assign_maps

    def forward_blocks(
        self, patch_tokens: Tensor, queries: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """H^1..H^L, each (B, T, D) and before the final norm, and the L assignments.

        Args:
            patch_tokens, queries: as for :meth:`forward`.
            padding_mask: (B, N) bool, True for tokens to ignore.
        """
        z = at_least_float32(self.norm_tokens(patch_tokens))  # once for all blocks
        h = torch.zeros_like(queries)  # H^0
        states, assign_maps = [], []
        for block in self.blocks:
            h, assign_map = block(z, queries, h, padding_mask)
            states.append(h)
            assign_maps.append(assign_map)
        return states, assign_maps
