"""Texts of earlier steps, and the most similar one to a text."""

import torch
from torch import Tensor

from eclip_mm.models.heads.base import similarity_logits
from eclip_mm.models.momentum_queue import MomentumQueue


class NeighbourBank(MomentumQueue):
    """First in, first out: text features and the products that they are of.

    The bank is a buffer, so that it travels with the checkpoint, and it is the
    same on all ranks, which each write the global batch.
    """

    @torch.no_grad()
    def nearest(self, feats: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The text of the bank that is most similar to each text.

        Args:
            feats, ids: (B, D) L2-normalised and (B,).

        Returns:
            (B, D) features and (B,) identities. While the bank is empty, a
            text is its own neighbour.
        """
        bank, bank_ids = self.extend(feats[:0], ids[:0])
        if len(bank) == 0:
            return feats.detach(), ids
        best = similarity_logits(feats, bank, feats.new_ones(())).argmax(dim=1)
        return bank[best], bank_ids[best]
