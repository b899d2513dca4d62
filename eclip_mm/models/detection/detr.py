"""ECLIP as a detector: the pretrained instance decoder with object queries."""

import copy
from collections.abc import Sequence

import torch
from mmdet.models.detectors import DETR
from mmdet.registry import MODELS as MMDET_MODELS
from torch import Tensor, nn

from eclip_mm.config.detection import fill_detr
from eclip_mm.models.decoders import scale_prompts
from eclip_mm.models.detection.backbone import build_part, check_init_cfg
from eclip_mm.models.detection.decoding import Queries, decode_queries
from eclip_mm.models.detection.dense_branch import DenseOutputs
from eclip_mm.models.detection.detr_start import begin_extra_blocks, check_settings, load_detr
from eclip_mm.models.detection.query_places import QueryPlaces
from eclip_mm.models.detection.token_grid import TokenGrid, encode_places
from eclip_mm.models.detection.token_queries import gather_tokens, select_tokens
from eclip_mm.registry import MODELS


@MODELS.register_module()
class EclipDETR(DETR):
    """DETR whose transformer is the pretrained g_I and instance decoder (Section 4.2.5).

    ::

        picture -> EclipBackbone -> g_I -> Z (B, N, D)
        Z -> DenseBranch -> V (B, N, E), a class and a box for every token
        queries (B, T, D), Z -> instance decoder -> H^1..H^L, M^1..M^L
        block l: box relative to the box of block l - 1; class of H^l and V pooled by M^l

    A query is a prompt of Eq. 1, so that the decoder does what it was trained
    for: of an image, taken from a token; of a class name; or a learned vector
    that starts as N(0, I), on the sphere of the prompts. Matching, losses and
    prediction are mmdet's.

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
        query_source: ``learned``, or ``tokens``: the image prompts
            ``sqrt(D) normalize(z_i)`` of the T highest local maxima of the
            dense branch's score, with that token's dense box as the first
            reference.
        dense_branch: config of a :class:`DenseBranch`, which gets its widths
            from here; None for no dense branch. The head then reads classes
            from V as well: from the mean of V with the weights M^2, and from V
            of the query's own token.
        position_bias: add a :class:`BoxPositionBias` of the query's last box to
            the logits of Eq. 2.
        places: add an encoding of the query's last box to the queries and keys
            of the self-attention, by a projection that is zero at the start.
        refine: predict the box of a block relative to the last block's box
            (without gradient). False predicts it relative to the first
            reference: the token's dense box, or of learned queries the mean
            and spread of each block's assignment.
        num_groups: groups of queries in training, each of which is matched with
            all products; predictions are those of the first.
        class_prompts: names of the classes, or the COCO file that lists them.
            The classifier, and learned queries, then start as the
            pretraining's features and prompts of these names, see
            :func:`begin_with_names`; needs ``init_cfg``. None, the default,
            starts both at random.
        token_positions: add a learned projection of sine positions to Z, which
            is zero at the start; Z itself then need not encode positions.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads image
            encoder, g_I (or the separate ``patch_projection``), decoder and, for
            token queries, positions and type of Eq. 1 of a pretraining
            checkpoint by name, see :func:`load_pretrained`. A CLIP checkpoint
            has no decoder, which then keeps its random start.
        kwargs: see mmdet's ``DETR``.
    """

    def __init__(
        self,
        backbone: dict,
        bbox_head: dict,
        decoder: dict | None = None,
        num_extra_blocks: int = 0,
        query_source: str = 'learned',
        dense_branch: dict | None = None,
        position_bias: bool = False,
        places: bool = False,
        refine: bool = False,
        num_groups: int = 1,
        token_positions: bool = True,
        class_prompts: str | Sequence[str] | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        check_init_cfg(init_cfg, 'EclipDETR')
        check_settings(query_source, dense_branch, class_prompts, init_cfg, kwargs)
        self.query_source, self.num_groups = query_source, num_groups
        self.position_bias, self.places, self.refine = position_bias, places, refine
        cfg = dict(backbone=dict(copy.deepcopy(backbone)), decoder=decoder, init_cfg=init_cfg)
        fill_detr(cfg)
        decoder = cfg['decoder']
        decoder['num_blocks'] += num_extra_blocks
        self.num_extra_blocks = num_extra_blocks
        self.class_prompts = class_prompts
        self.token_positions = token_positions
        self.dense_branch = copy.deepcopy(dense_branch)
        bbox_head = dict(copy.deepcopy(bbox_head), embed_dims=decoder['embed_dims'])
        if dense_branch:
            bbox_head['evidence_dims'] = dense_branch.get('channels') or decoder['embed_dims']
        super().__init__(
            backbone=cfg['backbone'],
            decoder=decoder,
            bbox_head=bbox_head,
            init_cfg=init_cfg,
            **kwargs,
        )

    @property
    def takes_tokens(self) -> bool:
        """Whether the queries are taken from tokens."""
        return self.query_source == 'tokens'

    def _init_layers(self) -> None:
        self.embed_dims = dims = self.decoder['embed_dims']
        self.decoder = build_part(self.decoder)
        width = self.backbone.embed_dims
        self.image_proj = nn.Linear(width, dims)  # g_I
        if self.token_positions:
            self.position_proj = nn.Linear(width, dims, bias=False)
            nn.init.zeros_(self.position_proj.weight)
        # learned queries, or position and type of Eq. 1 for prompts of tokens
        self.query_embedding = nn.Embedding(self.num_groups * self.num_queries, dims)
        if self.takes_tokens:
            nn.init.trunc_normal_(self.query_embedding.weight, std=0.02)
        if self.dense_branch:
            self.dense_branch = MMDET_MODELS.build(
                dict(
                    self.dense_branch,
                    embed_dims=dims,
                    extra_dims=width * (self.backbone.num_maps - 1),
                    num_classes=self.bbox_head.num_classes,
                )
            )
        self.query_places = QueryPlaces(dims, self.position_bias, self.places)

    def init_weights(self) -> None:
        """Load pretrained parts from ``init_cfg.checkpoint`` and initialise the head."""
        self.bbox_head.init_weights()
        self.backbone.init_weights()
        if self.is_init:
            return
        if self.init_cfg:
            load_detr(self)
        begin_extra_blocks(self.decoder.blocks, self.num_extra_blocks)
        self.is_init = True

    def loss(self, batch_inputs: Tensor, batch_data_samples) -> dict[str, Tensor]:
        """The head's losses of every block, and those of the dense branch."""
        features, dense = self.decode(self.extract_feat(batch_inputs), batch_data_samples)
        losses = self.bbox_head.loss(batch_data_samples, self.num_queries, **features)
        if dense is not None:
            losses.update(self.dense_branch.loss(dense, batch_data_samples))
        return losses

    def forward_transformer(self, img_feats, batch_data_samples=None) -> dict[str, Tensor]:
        """Inputs of the head, see :meth:`decode`."""
        return self.decode(img_feats, batch_data_samples)[0]

    def decode(
        self, img_feats: Sequence[Tensor], batch_data_samples: Sequence
    ) -> tuple[dict[str, Tensor], DenseOutputs | None]:
        """From the maps of the backbone to the inputs of the head.

        Args:
            img_feats: maps (B, C, h, w); Z is made of the last one.
            batch_data_samples: with ``img_shape``.

        Returns:
            Arguments of :meth:`EclipDETRHead.forward`, and the outputs of the
            dense branch.
        """
        *others, feat = img_feats
        shapes = feat.new_tensor([sample.img_shape[:2] for sample in batch_data_samples])
        grid = TokenGrid.of(tuple(feat.shape[-2:]), self.backbone.strides[-1], shapes)
        tokens = feat.flatten(2).transpose(1, 2)
        memory = self.image_proj(tokens)
        if self.token_positions:
            places = encode_places(grid.positions, tokens.shape[-1])
            memory = memory + self.position_proj(places.to(tokens))
        dense = None
        if self.dense_branch:
            others = [other.flatten(2).transpose(1, 2) for other in others]
            dense = self.dense_branch(torch.cat([memory, *others], dim=-1), grid)
        queries, references, chosen = self.make_queries(memory, dense)
        return self.run_blocks(memory, queries, references, chosen, dense, grid), dense

    def make_queries(
        self, memory: Tensor, dense: DenseOutputs | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """
        Args:
            memory: Z (B, N, D).
            dense: outputs of the dense branch.

        Returns:
            Queries (B, K * T, D), K groups in training and one otherwise; their
            references (B, K * T, 4) and the indices of their tokens (B, K * T),
            both None for learned queries.
        """
        num_groups = self.num_groups if self.training else 1
        embedding = self.query_embedding.weight[: num_groups * self.num_queries]
        if not self.takes_tokens:
            return embedding.expand(len(memory), -1, -1), None, None
        chosen = select_tokens(dense.scores(), self.num_queries, num_groups)
        queries = scale_prompts(gather_tokens(memory, chosen)) + embedding  # Eq. 1
        return queries, gather_tokens(dense.boxes.detach(), chosen), chosen

    def run_blocks(
        self,
        memory: Tensor,
        queries: Tensor,
        references: Tensor | None,
        chosen: Tensor | None,
        dense: DenseOutputs | None,
        grid: TokenGrid,
    ) -> dict[str, Tensor]:
        """Arguments of :meth:`EclipDETRHead.forward`; see :meth:`make_queries`."""
        groups = Queries(queries, references, chosen, queries.shape[1] // self.num_queries)
        parts = self.decoder, self.bbox_head, self.query_places
        return decode_queries(*parts, memory, groups, dense, grid, self.refine)
