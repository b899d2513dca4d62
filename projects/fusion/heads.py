"""Pretext heads over towers with a fusion: contrast, matching and masked words."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.heads import PretextHead, draw_hard_negatives
from eclip_mm.models.heads.base import accuracy, similarity_logits
from eclip_mm.registry import MODELS
from eclip_mm.utils.dist import gather
from projects.filip.token_similarity import gather_padded
from projects.fusion.masked_modelling import NOT_HIDDEN, mean_of_all
from projects.fusion.outputs import MatchingOutputs
from projects.fusion.soft_contrast import PairQueue, soft_contrast

#: tokens for which masks are drawn: ranks pad to different lengths, and draw the same numbers
MAX_WORDS = 512


@MODELS.register_module()
class SoftContrastHead(PretextHead):
    """ALBEF's contrast with a queue and soft targets, see :func:`soft_contrast`.

    Args:
        embed_dims: joint width D.
        queue_size: number of pairs in the queue; any.
    """

    def __init__(self, embed_dims: int, queue_size: int = 65536):
        super().__init__()
        self.queue = PairQueue(queue_size, embed_dims)

    def loss(self, outputs: MatchingOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itc``, ``itc_acc``."""
        feats = dict(image=outputs.image_feats, text=outputs.text_feats)
        loss, acc, outputs.queue_write = soft_contrast(
            feats,
            outputs.teacher_feats,
            self.queue,
            outputs.all_id_hash,
            outputs.targets,
            outputs.logit_scale,
            outputs.alpha,
        )
        return dict(loss_itc=loss, itc_acc=acc)

    def remember(self, outputs: MatchingOutputs) -> Callable[[], None] | None:
        return outputs.queue_write

    def forget(self) -> None:
        self.queue.clear()


@MODELS.register_module()
class FusionMatchingHead(PretextHead):
    """Two-way cross-entropy of B pairs, B with a hard negative text and B with such a picture.

    Negatives are drawn by the softmax of the similarity over the other
    products of the global batch.

    Args:
        loss_weight: factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def loss(self, outputs: MatchingOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itm``, ``itm_acc``."""
        words, mask, patches = outputs.words, outputs.word_mask, outputs.patches
        text, image = self.draw_negatives(outputs)
        all_words, all_masks = gather_padded(words, mask)
        missing = all_masks.shape[1] - mask.shape[1]
        words, mask = F.pad(words, (0, 0, 0, missing)), F.pad(mask, (0, missing))
        logits = outputs.network.match(
            torch.cat([words, all_words[text], words]),
            torch.cat([mask, all_masks[text], mask]),
            torch.cat([patches, patches, gather(patches)[image]]),
        )
        labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        labels[: len(words)] = 1
        return dict(
            loss_itm=self.loss_weight * F.cross_entropy(logits, labels),
            itm_acc=accuracy(logits, labels),
        )

    @torch.no_grad()
    def draw_negatives(self, outputs: MatchingOutputs) -> tuple[Tensor, Tensor]:
        """Rows of the global batch: a text for each picture, and a picture for each text, (B,)."""
        draws = outputs.draw('negatives', 2).to(outputs.image_feats.device)
        sides = (
            (outputs.image_feats, outputs.all_text_feats),
            (outputs.text_feats, outputs.all_image_feats),
        )
        return tuple(
            draw_hard_negatives(
                similarity_logits(feats, others, outputs.logit_scale),
                outputs.same_product,
                draws[:, side],
            )
            for side, (feats, others) in enumerate(sides)
        )


@MODELS.register_module()
class FusedWordsHead(PretextHead):
    """Masked words of a text that has read its picture, with the momentum model's as soft targets.

    Args:
        loss_weight: factor of the loss.
    """

    min_products = 1

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def loss(self, outputs: MatchingOutputs) -> dict[str, Tensor]:
        """Terms ``loss_mlm``, ``mlm_acc``."""
        masking = outputs.network.masking
        shown, targets = masking.hide_words(
            outputs.input_ids, outputs.word_mask, outputs.draw('words', MAX_WORDS, 3)
        )
        logits = self._logits(outputs.network, shown, outputs, outputs.patches, targets)
        soft = None
        if outputs.alpha:
            with torch.no_grad():
                soft = self._logits(
                    outputs.teacher, shown, outputs, outputs.teacher_patches, targets
                )
        right = (logits.argmax(dim=1) == targets[targets != NOT_HIDDEN]).float()
        return dict(
            loss_mlm=self.loss_weight * masking.word_loss(logits, targets, soft, outputs.alpha),
            mlm_acc=mean_of_all(right),
        )

    def _logits(self, network, shown, outputs, patches, targets) -> Tensor:
        words = network.text_encoder.encode_tokens(shown, outputs.word_mask.long())
        states = network.fuse(words, outputs.word_mask, patches)
        return network.masking.word_logits(states, targets)
