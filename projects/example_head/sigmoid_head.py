"""A pretext head of your own, registered from outside eclip_mm."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS


def sigmoid_contrastive_loss(logits: Tensor, targets: Tensor, ignore: Tensor) -> Tensor:
    """Classify each pair of image and text on its own.

    ::

        L = - 1/B sum_i sum_j log sigmoid(z_ij * logits_ij)

    with z_ij = 1 where image i and text j belong together and -1 elsewhere
    (Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023).

    Args:
        logits: (B, G) of B images and G texts.
        targets: (B,) int64, the text of each image.
        ignore: (B, G) bool, pairs to leave out: other rows of the image's
            product. The target itself is never left out.

    Returns:
        Scalar.
    """
    signs = torch.full_like(logits, -1.0).scatter(1, targets[:, None], 1.0)
    ignore = ignore.scatter(1, targets[:, None], False)
    return -F.logsigmoid(signs * logits).masked_fill(ignore, 0.0).sum(dim=1).mean()


@MODELS.register_module()
class SigmoidHead(PretextHead):
    """Image-text contrast by sigmoids, with its own scale and bias.

    Args:
        loss_weight: factor of the loss.
        init_scale: t at the start; its logarithm is learned.
        init_bias: b at the start, far below 0 because nearly all pairs are
            negative.
    """

    def __init__(
        self, loss_weight: float = 1.0, init_scale: float = 10.0, init_bias: float = -10.0
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self.log_scale = nn.Parameter(torch.tensor(math.log(init_scale)))
        self.bias = nn.Parameter(torch.tensor(init_bias))

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_sigmoid`` (optimised) and ``sigmoid_acc`` (logged)."""
        # all_text_feats holds the texts of all processes, and gradients flow back to each
        similarity = outputs.image_feats @ outputs.all_text_feats.T
        logits = self.log_scale.exp() * similarity + self.bias
        loss = sigmoid_contrastive_loss(logits, outputs.targets, outputs.same_product)
        acc = (logits.argmax(dim=1) == outputs.targets).float().mean()
        return dict(loss_sigmoid=self.loss_weight * loss, sigmoid_acc=acc)
