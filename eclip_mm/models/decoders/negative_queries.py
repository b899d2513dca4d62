"""Where the T-1 negative prompts come from once the model is trained (Section 3.4, Table 6)."""

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from eclip_mm.utils.seeding import derive_seed

from .instance_queries import scale_prompts


class NegativeQueries(nn.Module):
    """Source of negative prompts, reproducible per product.

    Args:
        embed_dims: joint width D.
        seed: together with the product_id it fixes the draw, so that a feature
            depends neither on the batch nor on the order of extraction.
    """

    def __init__(self, embed_dims: int = 512, seed: int = 0):
        super().__init__()
        self.embed_dims = embed_dims
        self.seed = seed

    def observe(self, text_feats: Tensor, id_hash: Tensor) -> None:
        """Sees the texts of every global training batch, the same on all ranks.

        Args:
            text_feats: (G, D) L2-normalised, without gradient.
            id_hash: (G,) int64 identity of each product.
        """

    def forward(self, product_ids: list[str], id_hash: Tensor, num_negatives: int) -> Tensor:
        """
        Args:
            product_ids: of the B positive prompts.
            id_hash: (B,) the same as integers.
            num_negatives: T - 1.

        Returns:
            (B, T - 1, D) float32 scaled prompts, on the device of ``id_hash``.
        """
        raise NotImplementedError

    def _generator(self, product_id: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, product_id))


@MODELS.register_module()
class GaussianNegatives(NegativeQueries):
    """q ~ N(0, I), the paper's choice."""

    def forward(self, product_ids, id_hash, num_negatives):
        rows = [
            torch.randn(num_negatives, self.embed_dims, generator=self._generator(i))
            for i in product_ids
        ]
        return torch.stack(rows).to(id_hash.device)


@MODELS.register_module()
class TextNegatives(NegativeQueries):
    """Text of other products: what the decoder met as negatives in training.

    Features of the texts last seen in training are kept in a ring that travels
    with the checkpoint. A product draws T - 1 different other products from
    it; where the ring holds fewer, Gaussian noise fills up.

    The queries of other products have learned to take the background; noise
    leaves more of it to the positive query (figures: docs/experiments.md).

    Args:
        size: texts in the ring.
    """

    def __init__(self, embed_dims: int = 512, seed: int = 0, size: int = 1024):
        super().__init__(embed_dims, seed)
        self.register_buffer('ring_feats', torch.zeros(size, embed_dims))
        self.register_buffer('ring_ids', torch.zeros(size, dtype=torch.int64))
        self.register_buffer('num_seen', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, text_feats, id_hash):
        size = len(self.ring_ids)
        text_feats, id_hash = text_feats[:size], id_hash[:size]
        # a batch need not divide the ring: wrap around
        at = (self.num_seen + torch.arange(len(id_hash), device=id_hash.device)) % size
        self.ring_feats[at] = text_feats.to(self.ring_feats.dtype)
        self.ring_ids[at] = id_hash
        self.num_seen += len(id_hash)

    def forward(self, product_ids, id_hash, num_negatives):
        filled = min(int(self.num_seen), len(self.ring_ids))
        ids, rows = self.ring_ids[:filled].tolist(), []
        for product_id, own in zip(product_ids, id_hash.tolist(), strict=True):
            generator = self._generator(product_id)
            chosen: dict[int, int] = {own: -1}  # product -> place in the ring
            for place in torch.randperm(filled, generator=generator).tolist():
                if len(chosen) > num_negatives:
                    break
                chosen.setdefault(ids[place], place)
            places = list(chosen.values())[1:]
            noise = torch.randn(num_negatives - len(places), self.embed_dims, generator=generator)
            rows.append(
                torch.cat([scale_prompts(self.ring_feats[places]), noise.to(id_hash.device)])
            )
        return torch.stack(rows)
