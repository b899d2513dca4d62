"""The contrastive loss of Eq. 6-9."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


def info_nce(logits: Tensor, targets: Tensor, ignore: Tensor | None = None) -> Tensor:
    """-log softmax of the target's logit, mean over the rows (Eq. 6-9).

    Args:
        logits: (B, G) similarities, already divided by the temperature.
        targets: (B,) int64 column of each row's positive.
        ignore: (B, G) bool, columns to leave out of the denominator: other
            samples of the row's own product, which are not negatives. The
            positive itself is never left out.

    Returns:
        Scalar, float32 or more.
    """
    logits = at_least_float32(logits)
    if ignore is not None:
        ignore = ignore.scatter(1, targets[:, None], False)
        logits = logits.masked_fill(ignore, float('-inf'))
    return F.cross_entropy(logits, targets)


@MODELS.register_module()
class InfoNCELoss(nn.Module):
    """:func:`info_nce` times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, targets: Tensor, ignore: Tensor | None = None) -> Tensor:
        return self.loss_weight * info_nce(logits, targets, ignore)
