"""Self-harmonised contrast (SCALE): the agreement of a product's modalities weighs its logits."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.heads.tiles import MAX_LOGITS
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS
from projects.capture.contrast import cross_modal_contrast


def harmony(feats: Tensor, floor: float | None = None) -> Tensor:
    """How much each modality of a product counts for each other one; nothing is learned here.

    ::

        S_ij = cosine of the modalities i and j       W = S * softmax(S over j)
        G_ij = W_ij / sum_j W_ij

    Args:
        feats: (B, K, D), a feature of each of K modalities.
        floor: least value of G; None for none. Where two modalities disagree,
            S and G are negative: logits multiplied by G would push them
            further apart.

    Returns:
        G (B, K, K), float32 or more, with gradient.
    """
    feats = F.normalize(at_least_float32(feats), dim=-1)
    similarity = feats @ feats.transpose(1, 2)
    weighted = similarity * similarity.softmax(dim=-1)
    weights = weighted / weighted.sum(dim=-1, keepdim=True)
    return weights if floor is None else weights.clamp(min=floor)


@MODELS.register_module()
class HarmonisedContrastHead(PretextHead):
    """The contrast of CAPTURE with the logits of each product multiplied by its G of the pair.

    Args:
        loss: config of the contrastive loss.
        floor: least value of G, see :func:`harmony`.
        max_elements: number of logits held at a time.
    """

    def __init__(
        self, loss: dict | None = None, floor: float = 0.05, max_elements: int = MAX_LOGITS
    ):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.floor = floor
        self.max_elements = max_elements

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_ssc``, ``ssc_acc`` and ``harmony``, the mean G of picture and text."""
        feats = torch.stack([outputs.image_feats, outputs.text_feats], dim=1)
        weights = harmony(feats, self.floor)
        image_to_text, text_to_image = weights[:, 0, 1:], weights[:, 1, :1]  # (B, 1) each
        loss, accuracy = cross_modal_contrast(
            self.criterion,
            outputs,
            image_to_text * outputs.image_feats,
            text_to_image * outputs.text_feats,
            self.max_elements,
        )
        return dict(loss_ssc=loss, ssc_acc=accuracy, harmony=image_to_text.detach().mean())
