"""Image-text contrastive learning (Eq. 6 and 7)."""

from torch import Tensor

from eclip_mm.models.heads.base import PretextHead, contrast
from eclip_mm.models.heads.tiles import MAX_LOGITS
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS


@MODELS.register_module()
class ITCHead(PretextHead):
    """L_itc = (L_i2t + L_t2i) / 2 over the global batch.

    Args:
        loss: config of the contrastive loss.
        max_elements: number of logits held at a time, see :func:`contrast`.
    """

    def __init__(self, loss: dict | None = None, max_elements: int = MAX_LOGITS):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.max_elements = max_elements

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itc``, ``itc_acc``."""
        sides = (
            (outputs.image_feats, outputs.all_text_feats),
            (outputs.text_feats, outputs.all_image_feats),
        )
        (i2t, i2t_acc), (t2i, t2i_acc) = (
            contrast(self.criterion, outputs, *side, max_elements=self.max_elements)
            for side in sides
        )
        return dict(loss_itc=(i2t + t2i) / 2, itc_acc=(i2t_acc + t2i_acc) / 2)
