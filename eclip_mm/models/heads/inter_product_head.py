"""Inter-product contrastive learning (Eq. 8)."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.embed_dims import with_embed_dims
from eclip_mm.models.heads.base import PretextHead, contrast
from eclip_mm.models.heads.tiles import MAX_LOGITS
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS


@MODELS.register_module()
class InterProductHead(PretextHead):
    """L_inter: two pictures of a product agree on its instance.

    The positive of h_theta is h_xi, which the momentum model computes from the
    product's other picture. The negatives N^- are the momentum features of all
    other products of the global batch.

    Args:
        loss: config of the contrastive loss.
        max_elements: number of logits held at a time, see :func:`contrast`.
        queue: config of a queue of further negatives, such as
            ``dict(type='MomentumQueue', size=65536)``. With None all negatives
            come from the global batch.
        embed_dims: joint width D, for the queue.
    """

    needs_decoder = True
    needs_teacher = True

    def __init__(
        self,
        loss: dict | None = None,
        max_elements: int = MAX_LOGITS,
        queue: dict | None = None,
        embed_dims: int = 512,
    ):
        super().__init__()
        self.criterion = MODELS.build(loss or dict(type='InfoNCELoss'))
        self.max_elements = max_elements
        self.queue = None
        if queue:
            queue = with_embed_dims(queue, embed_dims, 'InterProductHead.queue')
            self.queue = MODELS.build(queue)

    def compile(self, **options):
        """Compile the head, unless it has a queue, whose shape changes while it fills."""
        if self.queue is None:
            super().compile(**options)

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """Terms ``loss_inter``, ``inter_acc``."""
        h = F.normalize(at_least_float32(outputs.positive_feats), dim=-1)
        keys, ids = outputs.all_teacher_feats, outputs.all_id_hash
        if self.queue is not None:
            keys, ids = self.queue.extend(keys, ids)
        loss, acc = contrast(self.criterion, outputs, h, keys, ids, self.max_elements)
        return dict(loss_inter=loss, inter_acc=acc)

    def remember(self, outputs: PretrainOutputs) -> Callable[[], None] | None:
        """Push the step's momentum features into the queue."""
        if self.queue is None:
            return None
        return partial(self.queue.push, outputs.all_teacher_feats, outputs.all_id_hash)

    def forget(self) -> None:
        if self.queue is not None:
            self.queue.clear()
