"""The contrast of CAPTURE: pictures and texts, each against all of both kinds."""

import torch
from torch import Tensor, nn

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.heads.base import contrast
from eclip_mm.models.heads.tiles import MAX_LOGITS
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS


def cross_modal_contrast(
    criterion: nn.Module,
    outputs: PretrainOutputs,
    image_feats: Tensor,
    text_feats: Tensor,
    max_elements: int = MAX_LOGITS,
) -> tuple[Tensor, Tensor]:
    """NT-Xent of pairs whose halves are a picture and a text.

    Each picture finds its own text among the texts and pictures of all other
    products of the global batch, and each text its picture: 2 G - 2 negatives
    where all products differ. Other rows of the same product are no negatives.

    Args:
        criterion: as in :func:`eclip_mm.models.heads.base.contrast`.
        outputs: the source of the features of the other side, of logit scale and identities.
        image_feats, text_feats: (B, D) the rows that ask; L2-normalised, or
            scaled by a weight of the row's logits.
        max_elements: number of logits held at a time.

    Returns:
        The mean over both directions of the loss, and the fraction of rows
        that find their own half among those of the other kind, scalars.
    """
    ids = torch.cat([outputs.all_id_hash, outputs.all_id_hash])
    images, texts = outputs.all_image_feats, outputs.all_text_feats
    loss = found = 0.0
    for feats, others, own in ((image_feats, texts, images), (text_feats, images, texts)):
        every = torch.cat([others, own])
        loss = loss + contrast(criterion, outputs, feats, every, ids, max_elements)[0] / 2
        with torch.no_grad():  # among `every`, each row would find itself
            right = contrast(criterion, outputs, feats, others, max_elements=max_elements)[1]
        found = found + right / 2
    return loss, found


@MODELS.register_module()
class CrossModalContrastHead(PretextHead):
    """CLR of CAPTURE, see :func:`cross_modal_contrast`.

    Args:
        loss: config of the contrastive loss.
        max_elements: number of logits held at a time.
    """

    def __init__(self, loss: dict | None = None, max_elements: int = MAX_LOGITS):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.max_elements = max_elements

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_clr``, ``clr_acc``."""
        loss, accuracy = cross_modal_contrast(
            self.criterion, outputs, outputs.image_feats, outputs.text_feats, self.max_elements
        )
        return dict(loss_clr=loss, clr_acc=accuracy)
