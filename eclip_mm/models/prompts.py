"""The prompts of a training sample: its own and those of T-1 different other products."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.decoders import IMAGE, TEXT, scale_prompts
from eclip_mm.registry import MODELS
from eclip_mm.utils.seeding import derive_seed


@dataclass
class PromptPlan:
    """The choices for the rows of one rank; indices refer to the global batch.

    Attributes:
        sources: (B, T) int64, index of the product whose prompt a query gets.
        modality: (B, T) int64, text or image.
        positive_index: (B,) int64, r.
        random_draws: (B,) float32 in [0, 1), for heads that sample.
    """

    sources: Tensor
    modality: Tensor
    positive_index: Tensor
    random_draws: Tensor


@dataclass
class PromptPool:
    """Features of the global batch that prompts are taken from.

    Negative prompts are conditions, not targets: the pool carries no gradient.

    Attributes:
        text: (G, D) of the products' texts.
        image: (G, D) of the products' other pictures, by the momentum model;
            None if no prompt is an image.
    """

    text: Tensor
    image: Tensor | None = None

    def prompts(
        self, text_feats: Tensor, sources: Tensor, modality: Tensor, positive_index: Tensor
    ) -> Tensor:
        """The prompts that a :class:`PromptPlan` chose.

        Args:
            text_feats: (B, D) of the rows' own texts. Through these alone a
                prompt carries gradient into the text encoder.
            sources, modality, positive_index: rows of the plan.

        Returns:
            (B, T, D) scaled prompts.
        """
        prompts = self.text[sources]
        own = F.one_hot(positive_index, prompts.shape[1]).bool()[..., None]
        prompts = torch.where(own, text_feats[:, None], prompts)
        if self.image is not None:
            is_text = (modality == TEXT)[..., None]
            prompts = torch.where(is_text, prompts, self.image[sources])
        return scale_prompts(prompts)


@MODELS.register_module()
class PromptSampler:
    """Draws prompts for the global batch, the same on every rank.

    Every choice follows from (seed, step): it depends neither on the number of
    ranks nor on what else draws random numbers, and a resumed run continues as
    if it had never stopped.

    Args:
        num_queries: T. The global batch needs at least T different products.
        image_prob: probability that a prompt is the product's *other* picture,
            encoded by the momentum model, instead of its text.
        positive_index: place of the positive query, ``random`` or ``first``.
        seed: seed of all choices.
    """

    def __init__(
        self,
        num_queries: int = 20,
        image_prob: float = 0.5,
        positive_index: str = 'random',
        seed: int = 0,
    ):
        if positive_index not in ('random', 'first'):
            raise ValueError(f"positive_index must be 'random' or 'first', got {positive_index!r}")
        if not 0 <= image_prob <= 1:
            raise ValueError(f'image_prob must lie in [0, 1], got {image_prob}')
        self.num_queries = num_queries
        self.image_prob = image_prob
        self.positive_index = positive_index
        self.seed = seed

    def _draw_negatives(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """(G, T-1) rows of T-1 different other products for each row.

        A random order of the batch and random distinct offsets in it: each
        row's negatives are a uniform draw, at O(G T) instead of O(G^2). A row
        takes the first T-1 offsets that lead to products that are new to it.
        A product with several rows in the batch is drawn more often, but never
        twice for one row.
        """
        num_rows, wanted = len(ids), self.num_queries - 1
        products, ids = ids.unique(return_inverse=True)
        if len(products) - 1 < wanted:
            raise ValueError(
                f'{self.num_queries} queries need {wanted} different other products in the global '
                f'batch, but for each of its {num_rows} rows it has {len(products) - 1}; raise '
                '`batch_size` or lower `num_queries`'
            )
        offsets = 1 + torch.randperm(num_rows - 1, generator=generator)
        order = torch.randperm(num_rows, generator=generator)
        place = torch.empty_like(order)
        place[order] = torch.arange(num_rows)
        if len(products) == num_rows:
            return order[(place[:, None] + offsets[:wanted]) % num_rows]
        negatives = torch.empty(num_rows, wanted, dtype=torch.int64)
        left, tried = torch.arange(num_rows), wanted + 8
        while len(left):  # few rows need a second round, with more offsets
            candidates = order[(place[left, None] + offsets[:tried]) % num_rows]
            found = ids[candidates]
            new = first_in_row(found) & (found != ids[left, None])
            count = new.cumsum(dim=1)
            done = count[:, -1] >= wanted
            taken = new & (count <= wanted) & done[:, None]
            negatives[left[done]] = candidates[taken].view(-1, wanted)
            left, tried = left[~done], 2 * tried
        return negatives

    def __call__(
        self, ids: Tensor, rows: slice, step: int, device: torch.device | str = 'cpu'
    ) -> PromptPlan:
        """Choose the prompts of a step.

        Args:
            ids: (G,) int64 identity of each product of the global batch, on the CPU.
            rows: this rank's rows.
            step: number of the training step.
            device: of the plan.

        Raises:
            ValueError: the global batch has too few different products.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.seed, step))
        num_rows, num_queries = len(ids), self.num_queries
        if self.positive_index == 'random':
            positive = torch.randint(num_queries, (num_rows,), generator=generator)
        else:
            positive = torch.zeros(num_rows, dtype=torch.int64)
        is_image = torch.rand(num_rows, num_queries, generator=generator) < self.image_prob
        random_draws = torch.rand(num_rows, generator=generator)

        # negatives fill columns 1 to T-1, then the positive in column 0 swaps with column r
        sources = torch.empty(num_rows, num_queries, dtype=torch.int64)
        every = torch.arange(num_rows)
        sources[:, 0] = every
        if num_queries > 1:
            sources[:, 1:] = self._draw_negatives(ids, generator)
        displaced = sources[every, positive]
        sources[every, positive] = every
        sources[:, 0] = torch.where(positive == 0, every, displaced)
        modality = torch.where(is_image, IMAGE, TEXT)
        return PromptPlan(
            *(
                x[rows].to(device, non_blocking=True)
                for x in (sources, modality, positive, random_draws)
            )
        )


def first_in_row(values: Tensor) -> Tensor:
    """(R, K) bool: True where a value stands for the first time in its row."""
    in_order, places = values.sort(dim=1, stable=True)
    first = torch.ones_like(values, dtype=torch.bool)
    first[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    return torch.empty_like(first).scatter_(1, places, first)
