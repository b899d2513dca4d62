"""Do this text and this picture belong together: the base of heads that tell from the states."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.heads.base import accuracy
from eclip_mm.models.precision import at_least_float32
from projects.streams.outputs import StreamOutputs, StreamStates


def no_loss(head: torch.nn.Module) -> Tensor:
    """0 with a gradient of zeros for each weight of the head, for which DDP waits."""
    return sum(weight.sum() for weight in head.parameters()) * 0.0


class StreamMatchingHead(PretextHead):
    """Two-way cross-entropy of pairs, of which some have another product's text.

    Args:
        loss_weight: factor of the loss.
        task: name of the task, for a model that does one task a step.
    """

    def __init__(self, loss_weight: float = 1.0, task: str = 'itm'):
        super().__init__()
        self.loss_weight = loss_weight
        self.task = task

    def logits(self, states: StreamStates) -> Tensor:
        """(B, 2) logits of not belonging and of belonging together."""
        raise NotImplementedError

    def loss(self, outputs: StreamOutputs) -> dict[str, Tensor]:
        """Terms ``loss_itm``, and ``itm_acc`` in steps of this task."""
        if outputs.task not in (None, self.task):
            return dict(loss_itm=no_loss(self))
        logits = at_least_float32(self.logits(outputs.states))
        labels = outputs.is_pair.long()
        return dict(
            loss_itm=self.loss_weight * F.cross_entropy(logits, labels),
            itm_acc=accuracy(logits, labels),
        )
