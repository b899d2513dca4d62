"""BLIP: bootstrapping language-image pretraining (Li et al., ICML 2022), without its data work."""

import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.heads import PretextHead
from eclip_mm.registry import MODELS
from projects.blip.network import BLIPNetwork
from projects.fusion.masked_modelling import mean_of_all
from projects.fusion.model import MatchingModel
from projects.fusion.outputs import MatchingOutputs


@MODELS.register_module()
class CaptionHead(PretextHead):
    """Cross-entropy of each next word of a text, given its picture and the words before.

    Args:
        label_smoothing: share of the target that all words get.
        loss_weight: factor of the loss.
    """

    min_products = 1

    def __init__(self, label_smoothing: float = 0.1, loss_weight: float = 1.0):
        super().__init__()
        self.label_smoothing, self.loss_weight = label_smoothing, loss_weight

    def loss(self, outputs: MatchingOutputs) -> dict[str, Tensor]:
        """Terms ``loss_lm``, ``lm_acc``."""
        ids, mask = outputs.input_ids, outputs.word_mask
        logits = outputs.network.caption_logits(ids[:, :-1], mask[:, :-1], outputs.patches)
        is_word = mask[:, 1:]
        logits, targets = logits[is_word], ids[:, 1:][is_word]
        losses = F.cross_entropy(
            logits, targets, reduction='none', label_smoothing=self.label_smoothing
        )
        return dict(
            loss_lm=self.loss_weight * mean_of_all(losses),
            lm_acc=mean_of_all((logits.argmax(dim=1) == targets).float()),
        )


@MODELS.register_module()
class BLIP(MatchingModel):
    """The towers of :class:`ECLIP` with BLIP's objective.

    Its heads are ``SoftContrastHead``, ``FusionMatchingHead`` and
    ``CaptionHead``.

    Args:
        max_length: largest number of tokens of a text.
        kwargs: of :class:`MatchingModel`.

    Raises:
        ValueError: no head trains the decoder.
    """

    network_type = BLIPNetwork

    def __init__(self, max_length: int = 64, **kwargs):
        super().__init__(max_length=max_length, **kwargs)
        if not any(isinstance(head, CaptionHead) for head in self.heads.values()):
            raise ValueError(
                'BLIP needs a head of type CaptionHead, pretext_heads has '
                f'{sorted(self.heads)}: without it nothing trains the decoder'
            )
