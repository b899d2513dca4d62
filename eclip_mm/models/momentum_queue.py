"""Momentum features of earlier steps, as further negatives."""

import torch
from torch import Tensor, nn

from eclip_mm.models.ring import write_ring
from eclip_mm.registry import MODELS


@MODELS.register_module()
class MomentumQueue(nn.Module):
    """Momentum features of the last products: further negatives N^- (MoCo).

    Features and identities travel with the checkpoint. They are the same on
    all ranks, since every rank writes the whole global batch.

    Args:
        size: K, number of features in the queue.
        embed_dims: joint width D.
    """

    def __init__(self, size: int, embed_dims: int):
        super().__init__()
        if size < 1:
            raise ValueError(f'a queue holds at least 1 feature, got size={size}')
        self.register_buffer('feats', torch.zeros(size, embed_dims))
        self.register_buffer('ids', torch.zeros(size, dtype=torch.int64))
        self.register_buffer('num_seen', torch.zeros((), dtype=torch.int64))
        self._count: int | None = 0

    def count(self) -> int:
        """``num_seen`` as the host knows it; read from the device after loading alone."""
        if self._count is None:
            self._count = int(self.num_seen)
        return self._count

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        self._count = None

    def extend(self, feats: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Append the queue's features and identities to those of the global batch.

        Args:
            feats, ids: (G, D) and (G,).

        Returns:
            (G + K', D) and (G + K',), where K' <= K is what the queue holds.
        """
        filled = min(self.count(), len(self.ids))
        # copies: the next step overwrites rows that this one's backward pass may read
        return (
            torch.cat([feats, self.feats[:filled].to(feats.dtype)]),
            torch.cat([ids, self.ids[:filled]]),
        )

    def clear(self) -> None:
        """Empty the queue."""
        for buffer in self.buffers():
            buffer.zero_()
        self._count = 0

    def push(self, feats: Tensor, ids: Tensor) -> None:
        """Write the (G, D) features and (G,) identities of a step over the oldest ones."""
        count = self.count()
        write_ring(self.feats, self.ids, self.num_seen, feats, ids)
        self._count = count + min(len(ids), len(self.ids))
