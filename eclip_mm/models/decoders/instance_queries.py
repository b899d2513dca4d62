"""Instance queries: a prompt, a position and a modality (Eq. 1)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.registry import MODELS

#: Modalities of a prompt; rows of the type embedding.
TEXT, IMAGE = 0, 1


def scale_prompts(feats: Tensor) -> Tensor:
    """Prompts ``sqrt(D) * normalize(feats)`` from (..., D) features.

    The norm of a standard Gaussian vector is about sqrt(D), so that prompts and
    the random negatives of the transfer stage lie on the same sphere.
    """
    return math.sqrt(feats.shape[-1]) * F.normalize(feats, dim=-1)


@MODELS.register_module()
class InstanceQueries(nn.Module):
    """q_t = q_t^prompt + q_t^pos + q_t^type (Eq. 1).

    Args:
        num_queries: T.
        embed_dims: joint width D.
    """

    def __init__(self, num_queries: int = 20, embed_dims: int = 512):
        super().__init__()
        self.num_queries = num_queries
        self.pos_embed = nn.Parameter(torch.empty(num_queries, embed_dims))
        self.type_embed = nn.Parameter(torch.empty(2, embed_dims))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.type_embed, std=0.02)

    def forward(self, prompts: Tensor, modality: Tensor) -> Tensor:
        """
        Args:
            prompts: (B, T, D), scaled as :func:`scale_prompts` does; T need not
                be that of the training.
            modality: (B, T) int64, :data:`TEXT` or :data:`IMAGE`.

        Returns:
            Q (B, T, D).
        """
        return prompts + self.positions(prompts.shape[1]) + self.type_embed[modality]

    def positions(self, num_queries: int) -> Tensor:
        """Position embeddings of any number of queries, (num_queries, D).

        Queries beyond those of the training share its positions from 1 on:
        with ``positive_index='first'``, position 0 means the positive query.
        """
        trained = len(self.pos_embed)
        if num_queries == trained:
            return self.pos_embed
        places = 1 + (torch.arange(num_queries, device=self.pos_embed.device) - 1) % max(
            1, trained - 1
        )
        places[0] = 0
        return self.pos_embed[places.clamp(max=trained - 1)]
