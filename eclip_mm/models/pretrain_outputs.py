"""What encoders and decoder hand to the pretext heads."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eclip_mm.utils.dist import gather, local_rows


@dataclass
class PretrainOutputs:
    """One training step's representations on this rank.

    B products on this rank, G in the global batch (all ranks), T queries, N
    patch tokens, D joint width. A head says by ``needs_decoder`` and
    ``needs_teacher`` which fields it needs beyond those of the encoders; they
    are None if no head needs them.

    Attributes:
        image_feats: (B, D) L2-normalised g_I(v_cls).
        text_feats: (B, D) L2-normalised g_T(w_cls).
        id_hash: (B,) int64, equal for equal product_ids.
        logit_scale: scalar 1 / tau.
        all_text_feats: (G, D) ``text_feats`` of the global batch, with
            gradient; gathered here unless given.
        all_id_hash: (G,) ``id_hash`` of the global batch; gathered here unless
            given.
        random_draws: (B,) one uniform draw in [0, 1) per product for heads
            that sample; they do not depend on the number of ranks.
        instance_feats: (B, T, D) H^L.
        assign_maps: L tensors (B, N, T), the M of each block.
        positive_index: (B,) r, the positive query.
        teacher_instance_feats: (B, D) L2-normalised positive h of the
            momentum model on the product's other picture.
    """

    image_feats: Tensor
    text_feats: Tensor
    id_hash: Tensor
    logit_scale: Tensor
    all_text_feats: Tensor | None = None
    all_id_hash: Tensor | None = None
    random_draws: Tensor | None = None
    instance_feats: Tensor | None = None
    assign_maps: list[Tensor] | None = None
    positive_index: Tensor | None = None
    teacher_instance_feats: Tensor | None = None

    def __post_init__(self):
        if self.all_text_feats is None:
            self.all_text_feats = gather(self.text_feats)
        if self.all_id_hash is None:
            self.all_id_hash = gather(self.id_hash)

    def derive(self) -> None:
        """Compute the cached properties below now, as far as their fields are there.

        A compiled head can neither gather from other ranks nor fill a cache.
        """
        names = ['all_image_feats', 'targets']
        if self.instance_feats is not None:
            names.append('positive_feats')
        if self.teacher_instance_feats is not None:
            names.append('all_teacher_feats')
        for name in names:
            getattr(self, name)

    @cached_property
    def positive_feats(self) -> Tensor:
        """(B, D) h_r, the positive query's instance representation."""
        rows = torch.arange(len(self.positive_index), device=self.positive_index.device)
        return self.instance_feats[rows, self.positive_index]

    @cached_property
    def all_image_feats(self) -> Tensor:
        """(G, D), with gradient."""
        return gather(self.image_feats)

    @cached_property
    def all_teacher_feats(self) -> Tensor:
        """(G, D) ``teacher_instance_feats`` of the global batch, without gradient."""
        return gather(self.teacher_instance_feats)

    @cached_property
    def targets(self) -> Tensor:
        """(B,) column of each row's own product in a gathered tensor."""
        rows = local_rows(len(self.id_hash))
        return torch.arange(rows.start, rows.stop, rows.step, device=self.id_hash.device)

    @property
    def same_product(self) -> Tensor:
        """(B, G) bool: columns of the row's own product (itself included); not cached."""
        return self.id_hash[:, None] == self.all_id_hash[None, :]
