"""Intra-product contrastive learning and entropy regularisation (Eq. 9 and 10)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS

from .base import PretextHead, accuracy


@MODELS.register_module()
class IntraProductHead(PretextHead):
    """L_intra and L_R: only the positive query may find the product.

    Args:
        loss: config of the contrastive loss over the T queries of a sample.
        entropy: config of the regularisation of Eq. 10; None switches it off.
    """

    needs_decoder = True

    def __init__(self, loss: dict | None = None, entropy: dict | None = None):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.entropy = MODELS.build(entropy) if entropy else None

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_intra``, ``intra_acc``, ``loss_entropy``, and slot health."""
        h = F.normalize(outputs.instance_feats, dim=-1)  # (B, T, D)
        logits = outputs.logit_scale * torch.einsum('btd,bd->bt', h, outputs.text_feats)
        terms = dict(
            loss_intra=self.criterion(logits, outputs.positive_index),
            intra_acc=accuracy(logits, outputs.positive_index))
        if self.entropy is not None:
            terms['loss_entropy'] = self.entropy(outputs.assign_maps[-1], outputs.positive_index)
        return terms
