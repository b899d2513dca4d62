"""ECLIP as a detector: the pretrained instance decoder with learned object queries."""

import copy
from collections.abc import Sequence

import torch
from mmdet.models.detectors import DETR
from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor, nn

from eclip_mm.config.detection import fill_detr
from eclip_mm.models.detection.backbone import build_part, check_init_cfg, pretrained_source
from eclip_mm.models.detection.class_prompts import NameEncoder, begin_with_names, class_names
from eclip_mm.models.detection.patch_projection import check_projection, find_patch_projection
from eclip_mm.models.detection.pretrained import load_pretrained
from eclip_mm.models.detection.references import assignment_boxes, token_positions
from eclip_mm.registry import MODELS


@MODELS.register_module()
class EclipDETR(DETR):
    """DETR whose transformer is the pretrained g_I and instance decoder (Section 4.2.5).

    ::

        picture -> EclipBackbone -> g_I -> Z (B, N, D)
        object queries (T, D), Z -> instance decoder -> H^1..H^L, M^1..M^L
        EclipDETRHead(H^l, box of M^l) -> classes and boxes of every block

    Object queries start as N(0, I), on the sphere of the pretrained prompts and
    negatives, or as the prompts of the class names. Everything else is mmdet's
    DETR: matching, losses, padding masks, prediction.

    Args:
        backbone: config of an :class:`EclipBackbone`.
        bbox_head: config of an :class:`EclipDETRHead`, which gets
            ``embed_dims`` from the decoder.
        decoder: config of an :class:`InstanceDecoder` with ``embed_dims``;
            what is left out comes from ``init_cfg.checkpoint``.
            ``softmax_over='tokens'`` makes it the usual cross-attention.
        num_extra_blocks: blocks after the pretrained ones. They are copies of
            the last pretrained block with outputs that are zero at the start,
            so that they change nothing until they are trained.
        num_queries: object queries T.
        class_prompts: names of the classes, or the COCO file that lists them.
            Queries and classifier then start as the pretraining's prompts and
            features of these names, see :func:`begin_with_names`; needs
            ``init_cfg``. None, the default, starts both at random.
        token_positions: add a learned projection of sine positions to Z, which
            is zero at the start; Z itself then need not encode positions.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads image
            encoder, g_I (or the separate ``patch_projection``) and decoder of
            a pretraining checkpoint by name, see :func:`load_pretrained`. A
            CLIP checkpoint has no decoder, which then keeps its random start.
        kwargs: see mmdet's ``DETR``.
    """

    def __init__(
        self,
        backbone: dict,
        bbox_head: dict,
        decoder: dict | None = None,
        num_extra_blocks: int = 0,
        token_positions: bool = True,
        class_prompts: str | Sequence[str] | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        check_init_cfg(init_cfg, 'EclipDETR')
        if class_prompts is not None and init_cfg is None:
            raise ValueError(
                'EclipDETR: class_prompts are encoded by a pretraining; set init_cfg, or '
                'class_prompts=None'
            )
        for key in ('neck', 'encoder', 'positional_encoding'):
            if kwargs.get(key) is not None:
                raise ValueError(
                    f'EclipDETR has no {key}: g_I and the decoder follow the backbone'
                )
        cfg = dict(backbone=dict(copy.deepcopy(backbone)), decoder=decoder, init_cfg=init_cfg)
        fill_detr(cfg)
        decoder = cfg['decoder']
        decoder['num_blocks'] += num_extra_blocks
        self.num_extra_blocks = num_extra_blocks
        self.class_prompts = class_prompts
        self.token_positions = token_positions
        bbox_head = dict(copy.deepcopy(bbox_head), embed_dims=decoder['embed_dims'])
        super().__init__(
            backbone=cfg['backbone'],
            decoder=decoder,
            bbox_head=bbox_head,
            init_cfg=init_cfg,
            **kwargs,
        )

    def _init_layers(self) -> None:
        self.embed_dims = self.decoder['embed_dims']
        self.decoder = build_part(self.decoder)
        width = self.backbone.embed_dims
        self.image_proj = nn.Linear(width, self.embed_dims)  # g_I
        # DETR.pre_transformer needs an encoding of the map's width
        self.positional_encoding = SinePositionalEncoding(width // 2, normalize=True)
        if self.token_positions:
            self.position_proj = nn.Linear(width, self.embed_dims, bias=False)
            nn.init.zeros_(self.position_proj.weight)
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)

    def init_weights(self) -> None:
        """Load pretrained parts from ``init_cfg.checkpoint`` and initialise the head."""
        self.bbox_head.init_weights()
        self.backbone.init_weights()
        if self.is_init:
            return
        if self.init_cfg:
            self._load_pretrained()
        self._begin_extra_blocks()
        self.is_init = True

    def _load_pretrained(self) -> None:
        source = pretrained_source(self.init_cfg)
        parts = {
            'image_encoder': self.backbone.encoder,
            find_patch_projection(**source): self.image_proj,
            'decoder': self.decoder,
        }
        if self.class_prompts is None:
            check_projection(load_pretrained(parts, **source), self.image_proj)
            return
        names = class_names(self.class_prompts, self.bbox_head.num_classes)
        if self.num_queries < len(names):
            raise ValueError(
                f'num_queries={self.num_queries} is too small for {len(names)} class_prompts, '
                'each of which needs at least one query'
            )
        encoder = NameEncoder(source['checkpoint'])
        text_parts = dict(text_encoder=encoder.text_encoder, text_proj=encoder.text_proj)
        report = load_pretrained(parts | text_parts, **source)
        check_projection(report, self.image_proj)
        missing = [
            part
            for part, module in text_parts.items()
            if not report.loaded[part] and module.state_dict()
        ]
        if missing:
            raise KeyError(
                f'{report.checkpoint} has no {" and no ".join(missing)}, which class_prompts '
                'need; take the checkpoint that the pretraining wrote, or class_prompts=None'
            )
        begin_with_names(self.query_embedding, self.bbox_head.fc_cls, encoder(names), **source)

    @torch.no_grad()
    def _begin_extra_blocks(self) -> None:
        blocks = self.decoder.blocks
        first = len(blocks) - self.num_extra_blocks
        for block in blocks[first:] if first else ():
            block.load_state_dict(blocks[first - 1].state_dict())
            for out in (block.slot_attn.proj_o, block.self_attn.out_proj, block.ffn[-1]):
                for param in out.parameters():
                    param.zero_()

    def pre_transformer(self, img_feats, batch_data_samples=None) -> tuple[dict, dict]:
        """As in DETR, with the positions of the tokens in their pictures."""
        encoder_inputs, decoder_inputs = super().pre_transformer(img_feats, batch_data_samples)
        feat = img_feats[-1]
        height, width = feat.shape[-2:]
        stride = self.backbone.stride
        if stride:  # the backbone pads to whole patches
            cell = feat.new_tensor([stride, stride])
        else:
            rows, columns = batch_data_samples[0].batch_input_shape
            cell = feat.new_tensor([columns / width, rows / height])
        shapes = feat.new_tensor([sample.img_shape[:2] for sample in batch_data_samples])
        decoder_inputs['positions'] = token_positions((height, width), cell.float(), shapes)
        return encoder_inputs, decoder_inputs

    def forward_encoder(self, feat: Tensor, feat_mask: Tensor, feat_pos: Tensor) -> dict:
        """Apply g_I and add positions.

        Args:
            feat: (B, N, C) tokens of the backbone.
            feat_mask: not used; the decoder masks padding.
            feat_pos: (B, N, C) sine positions.

        Returns:
            ``memory`` Z (B, N, D).
        """
        memory = self.image_proj(feat)
        if self.token_positions:
            memory = memory + self.position_proj(feat_pos)
        return dict(memory=memory)

    def forward_decoder(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        memory_pos: Tensor,
        positions: Tensor,
    ) -> dict:
        """Run the instance decoder on all tokens except padding.

        Args:
            query: not used; H^0 is zero.
            query_pos: object queries (B, T, D).
            memory: Z (B, N, D).
            memory_mask: (B, N) bool, True for padding; None if there is none.
            memory_pos: not used; Z contains positions.
            positions: (B, N, 2) of the tokens.

        Returns:
            ``hidden_states`` (L, B, T, D + 4): H of every block and the box of
            its assignment, cxcywh as fractions of the picture.
        """
        states, assign_maps = self.decoder.forward_blocks(memory, query_pos, memory_mask)
        if memory_mask is not None:
            positions = positions.masked_fill(memory_mask[..., None], 0.0)
        boxes = torch.stack([assignment_boxes(m, positions) for m in assign_maps])
        states = self.decoder.norm_out(torch.stack(states))
        return dict(hidden_states=torch.cat([states, boxes.to(states)], dim=-1))
