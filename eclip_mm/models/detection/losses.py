"""Losses of detectors on labels and boxes, in plain torch."""

import torch
import torch.nn.functional as F
from mmdet.models.losses import FocalLoss, QualityFocalLoss
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
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
    found: Tensor,
    wanted: Tensor,
    avg_factor: float,
    weights: Tensor | None = None,
) -> Tensor:
    """A classification loss of mmdet.

    Args:
        loss: the target of a ``QualityFocalLoss`` is the IoU of a box, that of
            any other loss the label.
        logits: (N, C), or (N, C + 1) with a softmax.
        labels: (N,), C for the background.
        found, wanted: (P, 4) boxes of the P rows with a label below C, cxcywh.
        avg_factor: what the sum of the loss is divided by.
        weights: (N,), 0 for padding; None for 1.
    """
    target = labels
    if isinstance(loss, QualityFocalLoss):
        overlaps = logits.new_zeros(len(labels))
        boxes = (bbox_cxcywh_to_xyxy(box.detach()) for box in (found, wanted))
        overlaps[labels < logits.shape[1]] = bbox_overlaps(*boxes, is_aligned=True).to(overlaps)
        target = (labels, overlaps)
    if weights is None:
        weights = torch.ones_like(logits[:, 0])
    return loss(logits, target, weights, avg_factor=avg_factor)


def overlap_loss(loss: nn.Module, found: Tensor, wanted: Tensor, avg_factor: float) -> Tensor:
    """A loss of mmdet on xyxy boxes, such as the ``GIoULoss``.

    Args:
        loss: the loss.
        found, wanted: (P, 4) cxcywh.
        avg_factor: what the sum of the loss is divided by.
    """
    if not len(found):
        return found.sum()  # zero; its gradient exists, which DDP waits for
    boxes = (bbox_cxcywh_to_xyxy(box) for box in (found, wanted))
    return loss(*boxes, avg_factor=avg_factor)
