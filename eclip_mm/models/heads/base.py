"""The base class of pretext heads, and what the contrastive ones share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eclip_mm.models.heads.tiles import MAX_LOGITS, mean_over_tiles, row_tiles
from eclip_mm.models.precision import at_least_float32
from eclip_mm.models.pretrain_outputs import PretrainOutputs


class PretextHead(nn.Module):
    """A pretext task: turns :class:`PretrainOutputs` into named terms.

    Terms whose name contains ``loss`` are summed and optimised; the others are
    only logged.
    """

    #: whether the task reads instance_feats, assign_maps or positive_index
    needs_decoder = False
    #: whether the task reads teacher_instance_feats
    needs_teacher = False
    #: least number of different products in the global batch; 1 for a task that contrasts none
    min_products = 2

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """The terms of the task, scalars."""
        raise NotImplementedError

    def forward(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """:meth:`loss`, as a call that hooks and ``torch.compile`` can work on."""
        return self.loss(outputs)

    def remember(self, outputs: PretrainOutputs) -> Callable[[], None] | None:
        """What the head keeps of this step for later ones, such as new rows of a queue.

        Returns:
            A function that keeps it, or None if there is nothing to keep. It
            is called once the step is complete, and never for a step whose
            loss or gradient is not finite. Until then it holds memory: let it
            refer to the tensors that it needs, detached, and not to
            ``outputs``.
        """

    def forget(self) -> None:
        """Forget what earlier steps have left: a new training begins."""


def similarity_logits(feats: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """``scale * feats @ others^T``, in float32 also under autocast.

    bf16 has 8 bits: logits near 100 would be rounded by up to 0.25, and similar
    products could not be distinguished.

    Args:
        feats: (B, D).
        others: (G, D).
        scale: scalar 1 / tau.

    Returns:
        (B, G).
    """
    with torch.autocast(feats.device.type, enabled=False):
        return scale * at_least_float32(feats) @ at_least_float32(others).T


def accuracy(logits: Tensor, targets: Tensor, same_product: Tensor | None = None) -> Tensor:
    """Fraction of rows whose largest logit belongs to the target or its product.

    Args:
        logits: (B, G).
        targets: (B,) int64.
        same_product: (B, G) bool, further columns that count as correct.
    """
    best = logits.argmax(dim=1)
    right = best == targets
    if same_product is not None:
        right = right | same_product.gather(1, best[:, None]).squeeze(1)
    return right.float().mean()


def contrast(
    criterion: nn.Module,
    outputs: PretrainOutputs,
    feats: Tensor,
    others: Tensor,
    other_ids: Tensor | None = None,
    max_elements: int = MAX_LOGITS,
) -> tuple[Tensor, Tensor]:
    """A contrastive loss with bounded memory: find each row's own product among others.

    If there are more than ``max_elements`` B x G logits, they are computed in
    tiles of whole rows, see :func:`mean_over_tiles`. Value and gradient are
    those of the whole matrix.

    Args:
        criterion: maps (logits, targets, ignore) to a mean over the rows, as
            :class:`InfoNCELoss` does.
        outputs: the source of logit scale, targets and identities of the rows.
        feats: (B, D) L2-normalised.
        others: (G, D) L2-normalised; row ``outputs.targets[b]`` belongs to b.
        other_ids: (G,) identities of ``others``; None for those of the global
            batch.
        max_elements: number of logits that are held at a time.

    Returns:
        The loss and the fraction of rows that find their product, scalars.
    """
    ids = outputs.all_id_hash if other_ids is None else other_ids

    def tile(rows: slice, feats: Tensor, others: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        targets = outputs.targets[rows]
        logits = similarity_logits(feats, others, scale)
        same_product = outputs.id_hash[rows, None] == ids
        return criterion(logits, targets, same_product), accuracy(logits, targets, same_product)

    return mean_over_tiles(
        tile,
        row_tiles(len(feats), len(others), max_elements),
        feats,
        others,
        outputs.logit_scale,
        parameters=tuple(criterion.parameters()),
    )
