"""A dense detector on the tokens, beside the decoder: its evidence, its queries, its own loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmdet.utils import reduce_mean
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from eclip_mm.models.detection.losses import classification_loss, overlap_loss
from eclip_mm.models.detection.simple_fpn import ChannelNorm
from eclip_mm.models.detection.token_grid import TokenGrid
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


@dataclass
class DenseOutputs:
    """What the dense branch says of every token.

    Attributes:
        features: V (B, N, E), tokens after the convolutions.
        logits: (B, N, C) class logits, without background.
        boxes: (B, N, 4) cxcywh as fractions of the picture.
        grid: of the tokens.
    """

    features: Tensor
    logits: Tensor
    boxes: Tensor
    grid: TokenGrid

    def scores(self) -> Tensor:
        """(B, h, w): score of a token's best class, -1 in the padding. Without gradient."""
        scores = self.logits.detach().sigmoid().amax(dim=-1)
        if self.grid.padding is not None:
            scores = scores.masked_fill(self.grid.padding, -1.0)
        return scores.unflatten(1, self.grid.shape)


@MODELS.register_module()
class DenseBranch(nn.Module):
    """Two 3x3 convolutions over the token grid, with a class and a box for every token.

    The instance feature H of a query is a mean over tokens, in which their
    order is lost. The convolutions see a token's neighbours, and with them
    shapes. The head of the decoder reads their features V, token queries are
    taken where the classes score highest, and the loss teaches every token
    near the middle of a product, not just the matched queries.

    Args:
        embed_dims: width of the tokens Z.
        num_classes: C.
        extra_dims: channels of further maps of the backbone beside Z.
        channels: E; None for ``embed_dims``.
        num_convs: convolutions.
        centre: part of each side of a product, around its middle, in which
            tokens are trained to find it.
        loss_cls: a sigmoid loss of mmdet. With the ``QualityFocalLoss``, the
            default, the score of a token is trained to be the IoU of its box.
        loss_bbox: a loss of mmdet on xyxy boxes.
    """

    def __init__(
        self,
        embed_dims: int,
        num_classes: int,
        extra_dims: int = 0,
        channels: int | None = None,
        num_convs: int = 2,
        centre: float = 0.5,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
    ):
        super().__init__()
        self.channels = channels or embed_dims
        self.num_classes = num_classes
        self.centre = centre
        width = embed_dims + extra_dims
        self.reduce = (
            nn.Identity() if width == self.channels else nn.Conv2d(width, self.channels, 1)
        )
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(self.channels, self.channels, 3, padding=1, bias=False),
                ChannelNorm(self.channels),
                nn.GELU(),
            )
            for _ in range(num_convs)
        )
        self.fc_cls = nn.Linear(self.channels, num_classes)
        self.fc_reg = nn.Linear(self.channels, 4)
        nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.fc_reg.weight)
        nn.init.constant_(self.fc_reg.bias, math.log(2))  # edges two cells from the centre
        self.loss_cls = MMDET_MODELS.build(
            dict(loss_cls or dict(type='mmdet.QualityFocalLoss', loss_weight=1.0))
        )
        self.loss_bbox = MMDET_MODELS.build(
            dict(loss_bbox or dict(type='mmdet.GIoULoss', loss_weight=2.0))
        )

    def forward(self, tokens: Tensor, grid: TokenGrid) -> DenseOutputs:
        """
        Args:
            tokens: (B, N, embed_dims + extra_dims).
            grid: of the tokens.
        """
        tokens = self.reduce(grid.as_map(tokens)).flatten(2).transpose(1, 2)
        for conv in self.convs:  # the padding is zero before each, as outside of a map
            tokens = conv(grid.as_map(tokens)).flatten(2).transpose(1, 2)
        distances = at_least_float32(self.fc_reg(tokens)).clamp(max=6).exp()  # in cells
        distances = distances * grid.cell.repeat(1, 2)[:, None]
        before, behind = distances.split(2, dim=-1)  # left and top, right and bottom
        boxes = torch.cat([grid.positions + (behind - before) / 2, before + behind], dim=-1)
        return DenseOutputs(tokens, at_least_float32(self.fc_cls(tokens)), boxes, grid)

    def loss(self, outputs: DenseOutputs, data_samples: Sequence) -> dict[str, Tensor]:
        """
        Args:
            outputs: of :meth:`forward`.
            data_samples: of the batch, with ``gt_instances``.

        Returns:
            ``loss_dense_cls`` and ``loss_dense_bbox``.
        """
        targets = [
            dense_targets(positions, sample.gt_instances, sample.img_shape, self.centre)
            for positions, sample in zip(outputs.grid.positions, data_samples, strict=True)
        ]
        labels, boxes = (torch.stack(part) for part in zip(*targets, strict=True))
        labels[labels < 0] = self.num_classes
        weights = torch.ones_like(boxes[..., 0])
        if outputs.grid.padding is not None:
            weights = weights.masked_fill(outputs.grid.padding, 0.0)
        positive = labels < self.num_classes
        avg_factor = positive.sum().to(weights)
        avg_factor = reduce_mean(avg_factor).clamp(min=1).item()
        found, wanted = outputs.boxes[positive], boxes[positive]
        logits, labels, weights = (x.flatten(0, 1) for x in (outputs.logits, labels, weights))
        return dict(
            loss_dense_cls=classification_loss(
                self.loss_cls, logits, labels, found, wanted, avg_factor, weights
            ),
            loss_dense_bbox=overlap_loss(self.loss_bbox, found, wanted, avg_factor),
        )


def dense_targets(
    positions: Tensor, gt_instances, img_shape: tuple[int, int], centre: float
) -> tuple[Tensor, Tensor]:
    """The product that each token of a picture is trained to find.

    A token is trained on the smallest product in whose middle it lies. Of each
    product, the nearest token lies in its middle by definition.

    Args:
        positions: (N, 2) x and y of the tokens, as fractions of the picture.
        gt_instances: with ``bboxes`` (G, 4) xyxy in pixels and ``labels`` (G,).
        img_shape: height and width of the picture.
        centre: part of each side that counts as the middle.

    Returns:
        Labels (N,), -1 for none, and boxes (N, 4) cxcywh as fractions of the picture.
    """
    labels = positions.new_full((len(positions),), -1, dtype=torch.long)
    targets = positions.new_zeros(len(positions), 4)
    if not len(gt_instances):
        return labels, targets
    height, width = img_shape[:2]
    boxes = bbox_xyxy_to_cxcywh(gt_instances.bboxes.to(positions))
    boxes = boxes / boxes.new_tensor([width, height, width, height])
    distances = (positions[:, None] - boxes[:, :2]).abs()  # (N, G, 2)
    inside = (distances <= centre / 2 * boxes[:, 2:]).all(dim=-1)
    pixels = distances * distances.new_tensor([width, height])
    inside[pixels.square().sum(dim=-1).argmin(dim=0), torch.arange(len(boxes))] = True
    areas = boxes[:, 2:].prod(dim=-1).expand_as(inside).masked_fill(~inside, torch.inf)
    best = areas.argmin(dim=1)
    found = inside.any(dim=1)
    labels[found] = gt_instances.labels[best[found]]
    targets[found] = boxes[best[found]]
    return labels, targets
