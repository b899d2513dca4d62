"""The head that predicts classes and boxes from every block of the decoder."""

import copy

import torch
from mmdet.models.dense_heads import DETRHead
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS


@MODELS.register_module()
class EclipDETRHead(DETRHead):
    """DETR's head, with boxes relative to where the query attends.

    Args:
        references: predict boxes as offsets, in logits, from the mean and
            spread of the query's assignment, since the pretrained decoder
            already points at products. Without references the head learns
            positions from the features, as in DETR.
        loss_cls: as in mmdet's head. ``bg_cls_weight`` is the weight of "no
            object", which mmdet applies only in its own class.
        kwargs: see mmdet's ``DETRHead``.
    """

    def __init__(
        self,
        num_classes: int,
        references: bool = True,
        loss_cls: dict | None = None,
        **kwargs,
    ):
        loss_cls = copy.deepcopy(
            loss_cls or dict(type='CrossEntropyLoss', bg_cls_weight=0.1, loss_weight=1.0)
        )
        self.references = references
        background = loss_cls.pop('bg_cls_weight', None)
        if background is not None:
            if loss_cls.get('use_sigmoid'):
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
        if self.references:  # at the start the box is the reference
            nn.init.zeros_(self.fc_reg.weight)
            nn.init.zeros_(self.fc_reg.bias)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            hidden_states: (L, B, T, D + 4). The last four channels are a box,
                cxcywh as fractions of the picture; they are part of this
                tensor because mmdet's head passes on only one.

        Returns:
            Class logits (L, B, T, C + 1) and boxes (L, B, T, 4), cxcywh as
            fractions of the picture.
        """
        feats, boxes = hidden_states.split([self.embed_dims, 4], dim=-1)
        # bf16 has 8 bits: boxes of 800 pixels would come in steps of 3
        offsets = at_least_float32(self.fc_reg(self.activate(self.reg_ffn(feats))))
        if self.references:
            offsets = offsets + torch.logit(boxes.to(offsets), eps=1e-3)
        return at_least_float32(self.fc_cls(feats)), offsets.sigmoid()
