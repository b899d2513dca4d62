"""Instance-text matching (Section 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.decoders import scale_prompts
from eclip_mm.models.heads.base import PretextHead, accuracy, similarity_logits
from eclip_mm.models.heads.tiles import MAX_LOGITS, row_tiles
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS

#: Bits of a draw, and of the probability 1. Their product has to fit into an int64.
DRAW_BITS, WEIGHT_BITS = 24, 38


def draw_hard_negatives(similarity: Tensor, same_product: Tensor, random_draws: Tensor) -> Tensor:
    """Draw one column per row with probability softmax(similarity).

    Args:
        similarity: (B, G) logits.
        same_product: (B, G) bool, columns that may not be drawn.
        random_draws: (B,) in [0, 1), of 24 bits as ``torch.rand`` gives them.
            The choice is the inverse of the cumulative distribution at them,
            so that it does not depend on the number of ranks.

    Returns:
        (B,) int64.
    """
    # The weights are integers, since a GPU's cumulative sum of floats differs between runs.
    probs = at_least_float32(similarity).masked_fill(same_product, float('-inf')).softmax(dim=1)
    cumulative = (probs * 2**WEIGHT_BITS).long().cumsum(dim=1)
    # relative to the row's own total: rounding must not put a draw behind the last column
    drawn = (random_draws * 2**DRAW_BITS).long() * cumulative[:, -1] >> DRAW_BITS
    index = torch.searchsorted(cumulative, drawn[:, None], right=True)
    return index.squeeze(1).clamp_(max=probs.shape[1] - 1)


@MODELS.register_module()
class ITMHead(PretextHead):
    """L_itm: classify whether a text describes an instance, by ``f(h (*) g_T(w_cls))``.

    Each instance is paired with its own text and with one hard negative, which
    is drawn by similarity from the other products of the global batch (ALBEF).

    Args:
        embed_dims: joint width D.
        loss_weight: factor of the two-way cross-entropy.
        max_elements: number of similarities held at a time when negatives are
            drawn.
    """

    needs_decoder = True

    def __init__(self, embed_dims: int, loss_weight: float = 1.0, max_elements: int = MAX_LOGITS):
        super().__init__()
        self.loss_weight = loss_weight
        self.max_elements = max_elements
        self.classifier = nn.Linear(embed_dims, 2)  # f

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itm``, ``itm_acc``."""
        h, texts = outputs.positive_feats, outputs.all_text_feats
        negatives = self.draw_negatives(outputs)
        pairs = torch.cat(
            [h * scale_prompts(outputs.text_feats), h * scale_prompts(texts[negatives])]
        )
        logits = at_least_float32(self.classifier(pairs))
        labels = torch.arange(2, device=h.device).flip(0).repeat_interleave(len(h))  # 1..1 0..0
        return dict(
            loss_itm=self.loss_weight * F.cross_entropy(logits, labels),
            itm_acc=accuracy(logits, labels),
        )

    @torch.no_grad()
    def draw_negatives(self, outputs: PretrainOutputs) -> Tensor:
        """Draw a text of the global batch for each row: (B,) int64."""
        h, texts = F.normalize(outputs.positive_feats, dim=-1), outputs.all_text_feats
        drawn = torch.empty(len(h), dtype=torch.int64, device=h.device)
        for rows in row_tiles(len(h), len(texts), self.max_elements):
            similarity = similarity_logits(h[rows], texts, outputs.logit_scale)
            same_product = outputs.id_hash[rows, None] == outputs.all_id_hash
            drawn[rows] = draw_hard_negatives(similarity, same_product, outputs.random_draws[rows])
        return drawn
