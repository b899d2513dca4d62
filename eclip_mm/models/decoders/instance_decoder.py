"""The instance decoder: L blocks of slot attention and self-attention (Section 3.2)."""

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS

from .slot_attention import SlotAttention


class InstanceDecoderBlock(nn.Module):
    """Slot attention, then self-attention among the queries, then the FFN (pre-norm)."""

    def __init__(self, embed_dims: int, num_heads: int, ffn_ratio: int, dropout: float):
        super().__init__()
        self.slot_attn = SlotAttention(embed_dims)
        self.norm_attn = nn.LayerNorm(embed_dims)
        self.self_attn = nn.MultiheadAttention(embed_dims, num_heads, dropout, batch_first=True)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, ffn_ratio * embed_dims),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_ratio * embed_dims, embed_dims),
        )

    def forward(self, patch_tokens, queries, instance_feats):
        h, assign_map = self.slot_attn(patch_tokens, queries, instance_feats)
        x = self.norm_attn(h)
        h = h + self.self_attn(x, x, x, need_weights=False)[0]
        h = h + self.ffn(self.norm_ffn(h))
        return h, assign_map


@MODELS.register_module()
class InstanceDecoder(nn.Module):
    """Aggregates instance representations H^L from patch tokens (Section 3.2).

    H^0 is zero and the queries enter only the similarity of Eq. 2, therefore
    H^L carries visual information alone.

    Args:
        embed_dims: joint width D.
        num_blocks: L.
        num_heads: heads of the self-attention (slot attention has one).
        ffn_ratio: hidden width of the FFN over D.
        dropout: of self-attention and FFN.
    """

    def __init__(
        self,
        embed_dims: int = 512,
        num_blocks: int = 6,
        num_heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.norm_tokens = nn.LayerNorm(embed_dims)
        self.blocks = nn.ModuleList(
            InstanceDecoderBlock(embed_dims, num_heads, ffn_ratio, dropout)
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
        z = self.norm_tokens(patch_tokens)
        h = torch.zeros_like(queries)  # H^0
        assign_maps = []
        for block in self.blocks:
            h, assign_map = block(z, queries, h)
            assign_maps.append(assign_map)
        return self.norm_out(h), assign_maps
