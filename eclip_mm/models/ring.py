"""A ring of features and identities: new rows overwrite the oldest ones."""

import torch
from torch import Tensor


@torch.no_grad()
def write_ring(
    ring_feats: Tensor, ring_ids: Tensor, num_seen: Tensor, feats: Tensor, ids: Tensor
) -> None:
    """Overwrite the oldest rows of a ring, in place.

    Rows wrap around at the end of the ring. If a batch is longer than the ring,
    only its first rows are written.

    Args:
        ring_feats, ring_ids: (K, D) and (K,).
        num_seen: scalar int64, number of rows written since the beginning.
        feats, ids: (G, D) and (G,) new rows.
    """
    size = len(ring_ids)
    feats, ids = feats[:size], ids[:size]
    at = (num_seen + torch.arange(len(ids), device=ids.device)) % size
    ring_feats[at] = feats.to(ring_feats.dtype)
    ring_ids[at] = ids
    num_seen += len(ids)
