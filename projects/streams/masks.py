"""Which words and regions are hidden in a step."""

import torch
from torch import Tensor

from eclip_mm.registry import MODELS


def draw_rows(seed: int, num_rows: int, width: int, rows: slice, kinds: int) -> Tensor:
    """(kinds, B, width) uniform draws of this rank's rows, whatever the number of ranks."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(kinds, num_rows, width, generator=generator)[:, rows]


def choose(draws: Tensor, allowed: Tensor, prob: float) -> Tensor:
    """Choose each allowed place with a probability, and at least one in each row that has any.

    Args:
        draws: (B, M) uniform in [0, 1).
        allowed: (B, M) bool.
        prob: of each place.

    Returns:
        (B, M) bool.
    """
    draws = draws.masked_fill(~allowed, 2.0)
    least = draws == draws.amin(dim=1, keepdim=True)
    return ((draws < prob) | least) & allowed


@MODELS.register_module()
class StepMasks:
    """15% of the words as in BERT, and 15% of the regions as in ViLBERT.

    Args:
        mask_id: id of ``[MASK]``.
        vocab_size: of the text encoder.
        first_id: ids from here on are words: no smaller one is hidden or put
            in the place of a hidden one.
        word_prob, region_prob: probability that a word or region is to be
            predicted; at least one of each text and picture is.
        max_words: largest number of words of a text.
        max_regions: largest number of regions of a picture.

    Raises:
        ValueError: an id is outside the vocabulary, or a number is no probability.
    """

    def __init__(
        self,
        mask_id: int,
        vocab_size: int,
        first_id: int = 5,
        word_prob: float = 0.15,
        region_prob: float = 0.15,
        max_words: int = 512,
        max_regions: int = 1024,
    ):
        for name, value in (('mask_id', mask_id), ('first_id', first_id)):
            if not 0 <= value < vocab_size:
                raise ValueError(
                    f'masking.{name}={value} is no id of a vocabulary of {vocab_size} words'
                )
        for name, value in (('word_prob', word_prob), ('region_prob', region_prob)):
            if not 0 < value <= 1:
                raise ValueError(f'masking.{name} must lie in (0, 1], got {value}')
        self.mask_id, self.vocab_size, self.first_id = mask_id, vocab_size, first_id
        self.word_prob, self.region_prob = word_prob, region_prob
        self.max_words, self.max_regions = max_words, max_regions

    def words(
        self, input_ids: Tensor, attention_mask: Tensor, seed: int, num_rows: int, rows: slice
    ) -> tuple[Tensor, Tensor]:
        """Hide words: of those to be predicted 80% become ``[MASK]``, 10% another word, 10% stay.

        Args:
            input_ids, attention_mask: (B, M).
            seed: of the step.
            num_rows: G of the global batch.
            rows: this rank's rows.

        Returns:
            (B, M) ids; (B, M) targets, -100 where nothing is to be predicted.
        """
        length = input_ids.shape[1]
        draws = draw_rows(seed, num_rows, self.max_words, rows, 3).to(input_ids.device)
        place, kind, other = draws[:, :, :length]
        chosen = choose(
            place, attention_mask.bool() & (input_ids >= self.first_id), self.word_prob
        )
        others = self.first_id + (other * (self.vocab_size - self.first_id)).long()
        shown = torch.where(kind < 0.8, self.mask_id, torch.where(kind < 0.9, others, input_ids))
        return torch.where(chosen, shown, input_ids), input_ids.masked_fill(~chosen, -100)

    def regions(
        self, mask: Tensor, seed: int, num_rows: int, rows: slice
    ) -> tuple[Tensor, Tensor]:
        """Hide regions, never the whole picture: 90% of those to be predicted, and 10% are shown.

        Args:
            mask: (B, 1 + K) bool, False at padding.
            seed, num_rows, rows: see :meth:`words`.

        Returns:
            (B, 1 + K) bool to be predicted; (B, 1 + K) bool hidden.
        """
        draws = draw_rows(seed + 1, num_rows, self.max_regions, rows, 2).to(mask.device)
        place, kind = draws[:, :, : mask.shape[1]]
        allowed = mask.clone()
        allowed[:, 0] = False
        chosen = choose(place, allowed, self.region_prob)
        return chosen, chosen & (kind < 0.9)
