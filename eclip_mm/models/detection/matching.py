"""Matching of queries with products, for all pictures of a batch at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass
class Products:
    """The products of a batch, one picture after the other.

    Attributes:
        boxes: (G, 4) cxcywh as fractions of their pictures.
        labels: (G,).
        counts: number of products of each picture.
    """

    boxes: Tensor
    labels: Tensor
    counts: list[int]

    @classmethod
    def of(cls, data_samples: Sequence) -> 'Products':
        """The ``gt_instances`` of samples with an ``img_shape``."""
        boxes, labels = [], []
        for sample in data_samples:
            height, width = sample.img_shape[:2]
            own = bbox_xyxy_to_cxcywh(sample.gt_instances.bboxes)
            boxes.append(own / own.new_tensor([width, height, width, height]))
            labels.append(sample.gt_instances.labels)
        return cls(torch.cat(boxes), torch.cat(labels), [len(part) for part in labels])


@torch.no_grad()
def match_queries(
    costs: Sequence[Callable], logits: Tensor, boxes: Tensor, products: Products, num_queries: int
) -> Tensor:
    """Hungarian matching of each group of queries with the products of its picture.

    Chen et al., Group DETR (ICCV 2023): in training, each of K groups of
    queries is matched with all products, so that a product teaches K queries.

    mmdet's matching takes one picture at a time, which in a small detector is
    a third of a training step. Here every cost is computed once, for all
    queries and products of the batch.

    Args:
        costs: mmdet's costs of a pair; they see boxes as fractions of the
            picture, in which IoU and generalised IoU are what they are in pixels.
        logits: (B, K * T, C).
        boxes: (B, K * T, 4) cxcywh as fractions of the picture.
        products: of the batch.
        num_queries: T.

    Returns:
        (B, K * T) int64, for each query the index of its product among all of
        the batch; -1 for none.

    Raises:
        ValueError: a cost is not finite.
    """
    found = torch.full(logits.shape[:2], -1, dtype=torch.long)
    if len(products.labels):
        predicted = InstanceData(
            scores=logits.flatten(0, 1), bboxes=bbox_cxcywh_to_xyxy(boxes.flatten(0, 1))
        )
        truth = InstanceData(labels=products.labels, bboxes=bbox_cxcywh_to_xyxy(products.boxes))
        pairs = dict(pred_instances=predicted, gt_instances=truth, img_meta=dict(img_shape=(1, 1)))
        total = sum(cost(**pairs) for cost in costs).cpu()
        if not total.isfinite().all():
            raise ValueError(
                'a cost of the matching is not finite: the training has diverged; lower the '
                'learning rate'
            )
        total = total.unflatten(0, logits.shape[:2]).numpy()
        end = 0
        for picture, count in enumerate(products.counts):
            start, end = end, end + count
            for first in range(0, logits.shape[1], num_queries):
                rows, columns = linear_sum_assignment(
                    total[picture, first : first + num_queries, start:end]
                )
                found[picture, first + rows] = start + torch.from_numpy(columns)
    return found.to(logits.device)
