"""Slot attention of the instance decoder (Eq. 2-5)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32


class SlotAttention(nn.Module):
    """One slot-attention layer.

    The softmax runs over the T queries (Eq. 3), so that each token is divided
    among them. The update is a mean over the N tokens, weighted by this
    assignment (Eq. 4). Both are float32 under autocast, since bf16 is too
    coarse for sums over 196 tokens.

    Eq. 2 and 4 apply W_z and W_v to the N tokens; here they are applied to the
    T queries: ``(Z W_z^T) q^T = Z (q W_z)^T`` and ``M^T (Z W_v^T) =
    (M^T Z) W_v^T``. With 196 tokens and 20 queries that is a tenth of the
    arithmetic, and no projected copy of the tokens is in memory.

    Args:
        embed_dims: joint width D.
        eps: added to the total mass of a query. A query that no token chose
            then gets a zero update instead of NaN.
        softmax_over: ``queries`` as in Eq. 3. ``tokens`` gives the usual
            cross-attention, in which several queries may have the same tokens
            and background belongs to none; detection can choose it.
        aligned_init: start from W_q = W_z, an orthogonal matrix. Eq. 2 is then
            sqrt(D) times the cosine of token and query in the joint space,
            which the contrastive losses shape; training may change either
            matrix. False starts from two unrelated matrices, whose
            similarities mean nothing until the decoder's losses train them.
        background: a similarity b, as a cosine, that competes for each token:
            Eq. 3 gets a further term ``exp(sqrt(D) b)`` in its denominator,
            which belongs to no query. A token that is like no query then
            goes to the background, instead of to the query that it is least
            unlike. None is Eq. 3 as it is written.

    Raises:
        ValueError: unknown ``softmax_over``, or ``background`` with the
            softmax over tokens.
    """

    def __init__(
        self,
        embed_dims: int,
        eps: float = 1e-8,
        softmax_over: str = 'queries',
        aligned_init: bool = False,
        background: float | None = None,
    ):
        super().__init__()
        if softmax_over not in ('queries', 'tokens'):
            raise ValueError(f"softmax_over must be 'queries' or 'tokens', got {softmax_over!r}")
        if background is not None and softmax_over == 'tokens':
            raise ValueError(
                f'decoder.background={background!r} competes with the queries for each token: set '
                "softmax_over='queries', or background=None"
            )
        self.softmax_over = softmax_over
        self.background = None if background is None else math.sqrt(embed_dims) * background
        self.scale = 1 / math.sqrt(embed_dims)
        self.eps = eps
        self.norm_query = nn.LayerNorm(embed_dims)
        self.proj_z = nn.Linear(embed_dims, embed_dims, bias=False)  # W_z
        self.proj_q = nn.Linear(embed_dims, embed_dims, bias=False)  # W_q
        self.proj_v = nn.Linear(embed_dims, embed_dims, bias=False)  # W_v
        self.proj_o = nn.Linear(embed_dims, embed_dims, bias=False)  # W_o
        # The logits of Eq. 2 get unit variance. With a third of it, torch's default, all queries
        # begin with equal parts of every token and are slow to become different.
        for proj in (self.proj_z, self.proj_q, self.proj_v, self.proj_o):
            nn.init.xavier_uniform_(proj.weight)
        if aligned_init:
            nn.init.orthogonal_(self.proj_z.weight)
            with torch.no_grad():
                self.proj_q.weight.copy_(self.proj_z.weight)

    def forward(
        self,
        patch_tokens: Tensor,
        queries: Tensor,
        instance_feats: Tensor,
        padding_mask: Tensor | None = None,
        bias: Tensor | None = None,
        num_groups: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            patch_tokens: Z (B, N, D).
            queries: Q (B, T, D).
            instance_feats: H^{l-1} (B, T, D).
            padding_mask: (B, N) bool, True for tokens to ignore.
            bias: (B, N, T), added to the logits of Eq. 2.
            num_groups: the queries are this many groups of equal size, one
                after the other, and each group divides all tokens among its
                own queries.

        Returns:
            H^l before self-attention (B, T, D); the assignment M,
            ``assign_map`` (B, N, T), float32. Its rows sum to 1 in each group
            (less with ``background``; its columns, with the softmax over
            tokens); rows of padding are 0.
        """
        q = self.proj_q(self.norm_query(queries + instance_feats)) @ self.proj_z.weight
        with torch.autocast(q.device.type, enabled=False):
            z, q = at_least_float32(patch_tokens), at_least_float32(q)
            logits = z @ (self.scale * q).transpose(1, 2)  # Eq. 2
            if bias is not None:
                logits = logits + bias
            padding = None if padding_mask is None else padding_mask.unsqueeze(-1)
            if self.softmax_over == 'queries':
                groups = logits.unflatten(2, (num_groups, -1))
                if self.background is not None:
                    groups = F.pad(groups, (0, 1), value=self.background)
                groups = groups.softmax(dim=3)  # Eq. 3: over queries, not over tokens
                if self.background is not None:
                    groups = groups[..., :-1]
                assign_map = groups.flatten(2)
                if padding is not None:
                    assign_map = assign_map.masked_fill(padding, 0.0)
            else:
                if padding is not None:
                    logits = logits.masked_fill(padding, -torch.inf)
                assign_map = logits.softmax(dim=1)
            mass = assign_map.sum(dim=1).unsqueeze(-1) + self.eps
            update = assign_map.transpose(1, 2) @ z / mass
        update = self.proj_v(update.to(queries.dtype))  # Eq. 4
        return instance_feats + self.proj_o(update), assign_map  # Eq. 5
