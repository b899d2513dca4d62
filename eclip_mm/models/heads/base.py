"""What every pretext head is."""

from torch import Tensor, nn

from eclip_mm.models.pretrain_outputs import PretrainOutputs


class PretextHead(nn.Module):
    """A pretext task: reads :class:`PretrainOutputs`, returns named terms.

    Keys of the result that contain ``loss`` are summed and optimised; the
    others are logged.
    """

    #: whether the task reads instance_feats, assign_maps, positive_index
    needs_decoder = False
    #: whether it reads teacher_instance_feats
    needs_teacher = False

    def loss(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        raise NotImplementedError


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose target has the largest logit."""
    return (logits.argmax(dim=1) == targets).float().mean()
