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
    """Source of negative prompts, which may depend on the picture and its prompt.

    They depend neither on the batch, nor on the order of extraction, nor on the
    product_id, which retrieval is scored by: it would show which pictures
    belong together. A source without state ignores that of another one in a
    checkpoint, so that ``model.negative_queries.type=NAME`` can choose it.

    Args:
        embed_dims: joint width D.
        seed: of the draw, if there is one.
    """

    #: whether it needs the names of a catalogue, see :class:`CatalogueNegatives`
    takes_names = False

    def __init__(self, embed_dims: int = 512, seed: int = 0):
        super().__init__()
        self.embed_dims = embed_dims
        self.seed = seed

    @property
    def in_use(self) -> 'NegativeQueries':
        """The source that gives the prompts."""
        return self

    def observe(self, text_feats: Tensor, id_hash: Tensor) -> None:
        """Take in the texts of a global training batch, the same on all ranks.

        Args:
            text_feats: (G, D) L2-normalised, without gradient.
            id_hash: (G,) int64 identity of each product.
        """

    def forget(self) -> None:
        """Forget what an earlier training has left."""

    def forward(self, num_negatives: int, patch_tokens: Tensor, prompt_feats: Tensor) -> Tensor:
        """
        Args:
            num_negatives: T - 1, as in training.
            patch_tokens: Z (B, N, D).
            prompt_feats: (B, D) features of the positive prompts.

        Returns:
            (B, T - 1, D) scaled prompts, of the device and dtype of
            ``prompt_feats``. Their number may be another, the same for all rows.
        """
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if self.state_dict():
            super()._load_from_state_dict(state_dict, prefix, *args)


class ConstantNegatives(NegativeQueries):
    """One constant draw for all products, pictures and prompts."""

    def draw(self, num_negatives: int) -> Tensor:
        """
        Args:
            num_negatives: T - 1.

        Returns:
            (T - 1, D) float32 scaled prompts.
        """
        raise NotImplementedError

    def forward(self, num_negatives, patch_tokens, prompt_feats):
        drawn = self.draw(num_negatives).to(prompt_feats)
        return drawn.expand(len(prompt_feats), -1, -1)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed))


@MODELS.register_module()
class GaussianNegatives(ConstantNegatives):
    """q ~ N(0, I), the paper's choice, drawn once."""

    def draw(self, num_negatives):
        return torch.randn(num_negatives, self.embed_dims, generator=self._generator())


@MODELS.register_module()
class TextNegatives(ConstantNegatives):
    """A fixed set of texts, such as the decoder met as negatives in training.

    Features of the texts last seen in training are kept in a ring that travels
    with the checkpoint. The seed alone chooses T - 1 texts of different
    products from it; missing entries are Gaussian noise. A product whose own
    text is among them is no exception: one of its negatives equals its positive.

    In training, queries of other products learn to take the background. With
    noise as negatives more of it is left to the positive query (figures:
    docs/experiments.md).

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

    def forget(self):
        for buffer in self.buffers():
            buffer.zero_()

    def draw(self, num_negatives):
        filled, generator = min(int(self.num_seen), len(self.ring_ids)), self._generator()
        ids = self.ring_ids[:filled].tolist()
        chosen: dict[int, int] = {}  # product -> place in the ring
        for place in torch.randperm(filled, generator=generator).tolist():
            chosen.setdefault(ids[place], place)
        places = list(chosen.values())[:num_negatives]
        noise = torch.randn(num_negatives - len(places), self.embed_dims, generator=generator)
        return torch.cat([scale_prompts(self.ring_feats[places]), noise.to(self.ring_feats)])


@MODELS.register_module()
class EMANegatives(ConstantNegatives):
    """Exponential moving averages of the prompts met in training (Table 6, "EMA Update").

    The paper does not say what makes its T - 1 averages differ: over the whole
    data set they would all be one vector. Here products are divided into T
    buckets by their identity, with one average each. The negatives are the
    averages of the first T - 1 buckets that have seen a product; missing
    entries are Gaussian noise. They are the same for all products: a product
    does not leave out the average that its own text is part of.

    A batch moves the average of a bucket by the mean over the rows that belong
    to it, and not at all if there are none:
    ``average <- momentum * average + (1 - momentum) * mean``, from zero. The
    result is scaled to the sphere of the prompts, which also removes the bias
    towards zero.

    Args:
        num_queries: T, buckets and averages.
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
        buckets = F.one_hot(id_hash % len(self.averages), len(self.averages))  # (G, T)
        counts = buckets.sum(dim=0)
        # A matrix product, since index_add_ adds in any order on a GPU and the ranks would
        # diverge; autocast would round the texts to bf16.
        with torch.autocast(text_feats.device.type, enabled=False):
            sums = buckets.T.to(self.averages) @ text_feats.to(self.averages)
        means = sums / counts.clamp(min=1)[:, None]
        moved = self.averages.lerp(means, 1 - self.momentum)
        self.averages.copy_(torch.where(counts[:, None] > 0, moved, self.averages))
        self.num_seen += counts

    def forget(self):
        for buffer in self.buffers():
            buffer.zero_()

    def draw(self, num_negatives):
        if num_negatives > len(self.averages):
            raise ValueError(
                f'EMANegatives keeps {len(self.averages)} averages, but {num_negatives} negatives '
                f'are needed; set negative_queries.num_queries={num_negatives + 1}, as in '
                'model.queries'
            )
        found = scale_prompts(self.averages[self.num_seen > 0][:num_negatives])
        missing = num_negatives - len(found)
        noise = torch.randn(missing, self.embed_dims, generator=self._generator())
        return torch.cat([found, noise.to(found)])


@MODELS.register_module()
class SwitchableNegatives(NegativeQueries):
    """Several sources: all observe the training, one gives the prompts.

    Negative queries of this kind take part in the transfer stage only, so that
    one training serves all rows of Table 6: the checkpoint holds the state of
    every source, and ``--cfg-options model.negative_queries.use=NAME`` chooses
    one at evaluation.

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

    def forget(self):
        for source in self.options.values():
            source.forget()

    @property
    def in_use(self):
        return self.options[self.use].in_use

    def forward(self, num_negatives, patch_tokens, prompt_feats):
        return self.in_use(num_negatives, patch_tokens, prompt_feats)
