"""Image-text contrastive learning (Eq. 6 and 7)."""

from torch import Tensor

from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS

from .base import PretextHead, accuracy, similarity_logits


@MODELS.register_module()
class ITCHead(PretextHead):
    """L_itc = (L_i2t + L_t2i) / 2 over the global batch.

    Args:
        loss: config of the contrastive loss.
    """

    def __init__(self, loss: dict | None = None):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itc``, ``itc_acc``."""
        scale, targets = outputs.logit_scale, outputs.targets
        i2t = similarity_logits(outputs.image_feats, outputs.all_text_feats, scale)  # (B, G)
        t2i = similarity_logits(outputs.text_feats, outputs.all_image_feats, scale)
        loss = (
            self.criterion(i2t, targets, outputs.same_product)
            + self.criterion(t2i, targets, outputs.same_product)
        ) / 2
        acc = (
            accuracy(i2t, targets, outputs.same_product)
            + accuracy(t2i, targets, outputs.same_product)
        ) / 2
        return dict(loss_itc=loss, itc_acc=acc)
