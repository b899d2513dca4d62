"""Intra-product contrastive learning and entropy regularisation (Eq. 9 and 10)."""

import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.heads.base import PretextHead, accuracy
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS


@MODELS.register_module()
class IntraProductHead(PretextHead):
    """L_intra and L_R: only the positive query represents the product.

    Args:
        loss: config of the contrastive loss over the T queries of a sample.
        entropy: config of the regularisation (Eq. 10); None switches it off.
    """

    needs_decoder = True

    def __init__(self, loss: dict | None = None, entropy: dict | None = None):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.entropy = MODELS.build(entropy) if entropy else None

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_intra``, ``intra_acc`` and, unless switched off, ``loss_entropy``."""
        h = F.normalize(at_least_float32(outputs.instance_feats), dim=-1)  # (B, T, D)
        # a product and a sum, since autocast would round a matrix product to bf16
        logits = outputs.logit_scale * (h * outputs.text_feats[:, None]).sum(dim=-1)
        terms = dict(
            loss_intra=self.criterion(logits, outputs.positive_index),
            intra_acc=accuracy(logits, outputs.positive_index),
        )
        if self.entropy is not None:
            terms['loss_entropy'] = self.entropy(outputs.assign_maps[-1], outputs.positive_index)
        return terms
