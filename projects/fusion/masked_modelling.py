"""Masked words and masked patches: what is hidden, and the losses of predicting it."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.dist import get_dist_info
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS

#: of the target of a word that is not to be predicted
NOT_HIDDEN = -100


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
    return allowed & ((draws < prob) | (draws == draws.amin(dim=1, keepdim=True)))


def mean_of_all(values: Tensor) -> Tensor:
    """This rank's share of the mean over the values of all ranks.

    Args:
        values: (n,), where n differs between ranks and may be 0.

    Returns:
        Scalar, whose mean over the ranks is the mean over all values, and 0 if
        there are none. DDP takes that mean of the gradients.
    """
    count = torch.tensor(float(len(values)), device=values.device)
    size = get_dist_info()[1]
    if size > 1:
        dist.all_reduce(count)
    return values.sum() * size / count.clamp(min=1)


@MODELS.register_module()
class MaskedModelling(nn.Module):
    """Hides words as BERT does and patches as ViLBERT does, and predicts them from states.

    Args:
        embed_dims: width H of the states.
        vocab_size: number of words; None for a model that hides no words.
        mask_id: id of ``[MASK]``.
        first_id: ids below it are no words: they are neither hidden nor put in
            the place of a hidden word.
        patch_dims: width of the patch tokens that are predicted; None for a
            model that hides no patches.
        prob: probability that a word or patch is to be predicted; at least one
            of each text and picture is.

    Raises:
        ValueError: ``prob`` is no probability, or an id is outside the vocabulary.
    """

    def __init__(
        self,
        embed_dims: int,
        vocab_size: int | None = None,
        mask_id: int = 103,
        first_id: int = 999,
        patch_dims: int | None = None,
        prob: float = 0.15,
    ):
        super().__init__()
        if not 0 < prob <= 1:
            raise ValueError(f'prob must lie in (0, 1], got {prob}')
        for name, value in (('mask_id', mask_id), ('first_id', first_id)):
            if vocab_size is not None and not 0 <= value < vocab_size:
                raise ValueError(f'{name}={value} is no id of a vocabulary of {vocab_size} words')
        self.vocab_size, self.mask_id, self.first_id = vocab_size, mask_id, first_id
        self.prob = prob
        self.words = self.patches = None
        if vocab_size is not None:
            self.words = nn.Sequential(
                nn.Linear(embed_dims, embed_dims),
                nn.GELU(),
                nn.LayerNorm(embed_dims, eps=1e-12),
                nn.Linear(embed_dims, vocab_size),
            )
        if patch_dims is not None:
            self.patches = nn.Linear(embed_dims, patch_dims)

    def hide_words(
        self, input_ids: Tensor, attention_mask: Tensor, draws: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of the words to be predicted 80% become ``[MASK]``, 10% another word, 10% stay.

        Args:
            input_ids, attention_mask: (B, M).
            draws: (B, M' >= M, 3) uniform in [0, 1).

        Returns:
            (B, M) ids; (B, M) targets, :data:`NOT_HIDDEN` where there is nothing to predict.
        """
        place, kind, other = draws[:, : input_ids.shape[1]].to(input_ids.device).unbind(dim=-1)
        allowed = attention_mask.bool() & (input_ids >= self.first_id)
        chosen = choose(place, allowed, self.prob)
        others = self.first_id + (other * (self.vocab_size - self.first_id)).long()
        shown = torch.where(kind < 0.8, self.mask_id, torch.where(kind < 0.9, others, input_ids))
        return torch.where(chosen, shown, input_ids), input_ids.masked_fill(~chosen, NOT_HIDDEN)

    def hide_patches(self, tokens: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Of the patches to be predicted 90% become zeros and 10% stay.

        Args:
            tokens: (B, N, C).
            draws: (B, N' >= N, 2) uniform in [0, 1).

        Returns:
            (B, N, C) tokens; (B, N) bool, which are to be predicted.
        """
        place, kind = draws[:, : tokens.shape[1]].to(tokens.device).unbind(dim=-1)
        chosen = choose(place, torch.ones_like(place, dtype=torch.bool), self.prob)
        return tokens.masked_fill((chosen & (kind < 0.9))[..., None], 0), chosen

    def word_logits(self, states: Tensor, targets: Tensor) -> Tensor:
        """(n, vocab_size) logits of the n hidden words of (B, M, H) states, in their order."""
        return at_least_float32(self.words(states[targets != NOT_HIDDEN]))

    def word_loss(
        self, logits: Tensor, targets: Tensor, teacher: Tensor | None = None, alpha: float = 0.0
    ) -> Tensor:
        """Cross-entropy with ``(1 - alpha) word + alpha teacher``, mean over all hidden words.

        Args:
            logits: (n, vocab_size) of :meth:`word_logits`.
            targets: (B, M) of :meth:`hide_words`.
            teacher: (n, vocab_size) logits of a momentum model; None without one.
            alpha: weight of the teacher's softmax.
        """
        hidden = targets[targets != NOT_HIDDEN]
        losses = F.cross_entropy(logits, hidden, reduction='none')
        if teacher is not None and alpha:
            soft = F.cross_entropy(logits, teacher.detach().softmax(dim=-1), reduction='none')
            losses = (1 - alpha) * losses + alpha * soft
        return mean_of_all(losses)

    def patch_loss(
        self, states: Tensor, tokens: Tensor, hidden: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Mean squared error of the hidden patches, whose channels are normalised.

        Args:
            states: (B, N, H) of the patches.
            tokens: (B, N, C) as they were before some were hidden; no gradient reaches them.
            hidden: (B, N) bool of :meth:`hide_patches`.
            weights: (B,) factors of the predictions (SCALE); None for 1.
        """
        wanted = at_least_float32(tokens.detach()[hidden])
        wanted = F.layer_norm(wanted, wanted.shape[-1:])
        found = at_least_float32(self.patches(states[hidden]))
        if weights is not None:
            found = found * weights[:, None].expand(hidden.shape)[hidden, None]
        return mean_of_all((found - wanted).square().mean(dim=-1))
