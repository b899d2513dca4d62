"""Classification losses of detectors in plain torch."""

import torch.nn.functional as F
from mmdet.models.losses import FocalLoss, QualityFocalLoss
from torch import Tensor, nn

from eclip_mm.registry import MODELS


@MODELS.register_module()
class OneHotFocalLoss(FocalLoss):
    """mmdet's sigmoid focal loss without its compiled op.

    mmdet calls the op of mmcv on a GPU whenever the targets are labels. With
    one-hot targets it takes the same formula in plain torch.

    Args:
        args, kwargs: see mmdet's ``FocalLoss``.
    """

    def forward(self, pred: Tensor, target: Tensor, *args, **kwargs) -> Tensor:
        """
        Args:
            pred: (N, C) logits.
            target: (N,) labels, C for the background.
            args, kwargs: see mmdet's ``FocalLoss``.
        """
        one_hot = F.one_hot(target, pred.shape[1] + 1)[:, :-1]
        return super().forward(pred, one_hot, *args, **kwargs)


def classification_loss(
    loss: nn.Module,
    logits: Tensor,
    labels: Tensor,
    overlaps: Tensor,
    weights: Tensor,
    avg_factor: float,
) -> Tensor:
    """Any of mmdet's sigmoid losses on labels.

    Args:
        loss: a ``QualityFocalLoss``, whose targets are the overlaps, or a focal loss.
        logits: (N, C).
        labels: (N,), C for the background.
        overlaps: (N,) IoU of predicted and true box; 0 for the background.
        weights: (N,), 0 for padding.
        avg_factor: what the sum of the loss is divided by.
    """
    target = (labels, overlaps) if isinstance(loss, QualityFocalLoss) else labels
    return loss(logits, target, weights, avg_factor=avg_factor)
