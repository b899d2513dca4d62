"""The head that predicts classes and boxes from every block of the decoder."""

import copy

import torch
from mmdet.models.dense_heads import DETRHead
from mmdet.utils import reduce_mean
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from eclip_mm.models.detection.losses import classification_loss, overlap_loss
from eclip_mm.models.detection.matching import Products, match_queries
from eclip_mm.models.detection.references import move_boxes
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


@MODELS.register_module()
class EclipDETRHead(DETRHead):
    """DETR's head, with boxes relative to references and evidence of tokens for the classes.

    Costs of the matching, losses and prediction are mmdet's.

    Args:
        evidence_dims: width E of the evidence that classes are read from beside
            H, see :class:`EclipDETR`; None reads H alone.
        loss_cls: ``QualityFocalLoss`` trains the score of a query to be the
            IoU of its box, ``eclip_mm.OneHotFocalLoss`` to be 1. With both, a
            detection is a pair of query and class. ``CrossEntropyLoss``, the
            default, is a softmax with "no object" as in DETR, whose weight is
            ``bg_cls_weight``, which mmdet applies only in its own class.
        kwargs: see mmdet's ``DETRHead``.
    """

    def __init__(
        self,
        num_classes: int,
        evidence_dims: int | None = None,
        loss_cls: dict | None = None,
        **kwargs,
    ):
        loss_cls = copy.deepcopy(
            loss_cls or dict(type='CrossEntropyLoss', bg_cls_weight=0.1, loss_weight=1.0)
        )
        self.evidence_dims = evidence_dims
        is_softmax = loss_cls['type'].endswith('CrossEntropyLoss')
        background = loss_cls.pop('bg_cls_weight', None)
        if background is not None:
            if not is_softmax or loss_cls.get('use_sigmoid'):
                raise ValueError(
                    'EclipDETRHead: bg_cls_weight needs the softmax; a sigmoid has no background'
                )
            weight = float(loss_cls.get('class_weight') or 1.0)
            loss_cls['class_weight'] = [weight] * num_classes + [float(background)]
        super().__init__(num_classes, loss_cls=loss_cls, **copy.deepcopy(kwargs))
        # mmdet averages the loss over these weights
        self.bg_cls_weight = 0 if background is None else float(background)

    def _init_layers(self) -> None:
        super()._init_layers()
        # at the start the box is the reference
        nn.init.zeros_(self.fc_reg.weight)
        nn.init.zeros_(self.fc_reg.bias)
        if self.loss_cls.use_sigmoid:
            nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))
        if self.evidence_dims:
            self.fc_evidence = nn.Linear(self.evidence_dims, self.cls_out_channels, bias=False)

    def refine(self, feats: Tensor, references: Tensor) -> Tensor:
        """Boxes of a block.

        Args:
            feats: H (B, T, D) after the decoder's norm.
            references: (B, T, 4) cxcywh as fractions of the picture.

        Returns:
            (B, T, 4) cxcywh, float32: bf16 has 8 bits, in which boxes of 800
            pixels would come in steps of 3.
        """
        offsets = self.fc_reg(self.activate(self.reg_ffn(feats)))
        return move_boxes(at_least_float32(references), at_least_float32(offsets))

    def forward(
        self, hidden_states: Tensor, boxes: Tensor, evidence: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            hidden_states: (L, B, T, D) H of every block after the decoder's norm.
            boxes: (L, B, T, 4) of :meth:`refine`.
            evidence: (L, B, T, E).

        Returns:
            Class logits (L, B, T, C), or (L, B, T, C + 1) with the softmax, and
            the boxes.
        """
        logits = self.fc_cls(hidden_states)
        if evidence is not None:
            logits = logits + self.fc_evidence(evidence)
        return at_least_float32(logits), boxes

    def loss(self, batch_data_samples, num_queries: int, **features: Tensor) -> dict[str, Tensor]:
        """
        Args:
            batch_data_samples: with ``gt_instances``.
            num_queries: size of a group of queries; each is matched by itself.
            features: as for :meth:`forward`.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_iou`` of the last block; those
            of others with the prefix ``d0.``, ``d1.``, ...
        """
        products, losses = Products.of(batch_data_samples), {}
        logits, boxes = self(**features)
        for index, outputs in enumerate(zip(logits, boxes, strict=True)):
            prefix = f'd{index}.' if index + 1 < len(logits) else ''
            matched = match_queries(self.assigner.match_costs, *outputs, products, num_queries)
            for name, value in self.loss_of_block(*outputs, products, matched).items():
                losses[prefix + name] = value
        return losses

    def loss_of_block(
        self, logits: Tensor, boxes: Tensor, products: Products, matched: Tensor
    ) -> dict[str, Tensor]:
        """
        Args:
            logits: (B, T, C) or (B, T, C + 1).
            boxes: (B, T, 4) cxcywh as fractions of the picture.
            products: of the batch.
            matched: (B, T) of :func:`match_queries`.
        """
        positive = matched >= 0
        chosen = matched[positive]
        labels = torch.full_like(matched, self.num_classes)
        labels[positive] = products.labels[chosen]
        count = positive.sum().to(logits)
        average = count + (~positive).sum() * self.bg_cls_weight
        count, average = (reduce_mean(n).clamp(min=1).item() for n in (count, average))
        found, wanted = boxes[positive], products.boxes[chosen].to(boxes)
        logits, labels = logits.flatten(0, 1), labels.flatten()
        return dict(
            loss_cls=classification_loss(self.loss_cls, logits, labels, found, wanted, average),
            loss_bbox=self.loss_bbox(found, wanted, avg_factor=count),
            loss_iou=overlap_loss(self.loss_iou, found, wanted, count),
        )

    def predict(self, batch_data_samples, rescale: bool = True, **features: Tensor):
        """Detections of the last block; arguments as for :meth:`loss`."""
        metas = [sample.metainfo for sample in batch_data_samples]
        last = {name: value[-1:] for name, value in features.items() if value is not None}
        return self.predict_by_feat(*self(**last), metas, rescale=rescale)

    def _predict_by_feat_single(self, cls_score, bbox_pred, img_meta, rescale=True):
        """As in mmdet, but with ``max_per_img`` no more than there are candidates."""
        found = cls_score.numel() if self.loss_cls.use_sigmoid else len(cls_score)
        limit = self.test_cfg.get('max_per_img', found) if self.test_cfg else found
        whole, self.test_cfg = self.test_cfg, dict(max_per_img=min(limit, found))
        try:
            return super()._predict_by_feat_single(cls_score, bbox_pred, img_meta, rescale)
        finally:
            self.test_cfg = whole
