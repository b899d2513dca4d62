"""Where the T-1 negative prompts come from once the model is trained (Section 3.4, Table 6)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.decoders.instance_queries import scale_prompts
from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.ring import write_ring
from eclip_mm.registry import MODELS
from eclip_mm.utils.seeding import derive_seed


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

    def observe(self, text_feats, id_hash):
        write_ring(self.ring_feats, self.ring_ids, self.num_seen, text_feats, id_hash)

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


@MODELS.register_module()
class EMANegatives(NegativeQueries):
    """Exponential moving averages of the prompts met in training (Table 6, "EMA Update").

    The paper does not say what tells its T - 1 averages apart: over the whole
    data set they would all be one vector. Here products are dealt to T shares
    by their identity, one average a share, and a product leaves out its own
    share, whose average holds its own text. Where fewer shares have been seen
    than are asked for, Gaussian noise fills up.

    A batch moves a share by the mean over the rows that it has of it, and not
    at all where it has none:
    ``average <- momentum * average + (1 - momentum) * mean``, from zero. The
    result is scaled to the sphere of the prompts, which takes away the bias of
    that start as well.

    Args:
        num_queries: T, averages to keep.
        momentum: 0.99 remembers about a hundred batches.
    """

    def __init__(
        self,
        embed_dims: int = 512,
        seed: int = 0,
        num_queries: int = 20,
        momentum: float = 0.99,
    ):
        super().__init__(embed_dims, seed)
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must lie in [0, 1), got {momentum}')
        self.momentum = momentum
        self.register_buffer('averages', torch.zeros(num_queries, embed_dims))
        self.register_buffer('num_seen', torch.zeros(num_queries, dtype=torch.int64))

    @torch.no_grad()
    def observe(self, text_feats, id_hash):
        shares = F.one_hot(id_hash % len(self.averages), len(self.averages))  # (G, T)
        counts = shares.sum(dim=0)
        # a matrix product, since index_add_ adds in any order on a GPU and ranks would part;
        # autocast would round the texts to bf16
        with torch.autocast(text_feats.device.type, enabled=False):
            sums = shares.T.to(self.averages) @ text_feats.to(self.averages)
        means = sums / counts.clamp(min=1)[:, None]
        moved = self.averages.lerp(means, 1 - self.momentum)
        self.averages.copy_(torch.where(counts[:, None] > 0, moved, self.averages))
        self.num_seen += counts

    def forward(self, product_ids, id_hash, num_negatives):
        num_shares = len(self.averages)
        if num_negatives >= num_shares:
            raise ValueError(
                f'EMANegatives keeps {num_shares} averages, its own of which a product leaves '
                f'out, but {num_negatives} negatives are asked for; set '
                f'negative_queries.num_queries={num_negatives + 1}, as in model.queries'
            )
        seen, rows = self.num_seen.tolist(), []
        for product_id, own in zip(product_ids, (id_hash % num_shares).tolist(), strict=True):
            generator = self._generator(product_id)
            order = torch.randperm(num_shares, generator=generator).tolist()
            chosen = [k for k in order if k != own and seen[k]][:num_negatives]
            noise = torch.randn(num_negatives - len(chosen), self.embed_dims, generator=generator)
            rows.append(torch.cat([scale_prompts(self.averages[chosen]), noise.to(self.averages)]))
        return torch.stack(rows)


@MODELS.register_module()
class SwitchableNegatives(NegativeQueries):
    """Several sources: all observe the training, one is used.

    Negative queries of this kind enter the transfer stage only, so one
    training serves all rows of Table 6: the checkpoint holds the state of
    every source, and ``--cfg-options model.negative_queries.use=NAME`` chooses
    at evaluation.

    Args:
        seed: of every source that has none of its own.
        options: name -> config of a source.
        use: name of the source that gives the prompts.
    """

    def __init__(self, options: dict, use: str, embed_dims: int = 512, seed: int = 0):
        super().__init__(embed_dims, seed)
        if use not in options:
            raise KeyError(
                f'negative_queries.use={use!r} is none of negative_queries.options: '
                f'{", ".join(sorted(options))}'
            )
        self.use = use
        self.options = nn.ModuleDict(
            {
                name: MODELS.build(
                    with_embed_dims({'seed': seed, **cfg}, embed_dims, f'options.{name}')
                )
                for name, cfg in options.items()
            }
        )

    def observe(self, text_feats, id_hash):
        for source in self.options.values():
            source.observe(text_feats, id_hash)

    def forward(self, product_ids, id_hash, num_negatives):
        return self.options[self.use](product_ids, id_hash, num_negatives)
