"""Masked words and masked regions, predicted from the states of the streams."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.dist import get_dist_info
from torch import Tensor, nn

from eclip_mm.models.heads import PretextHead
from eclip_mm.models.precision import at_least_float32
from eclip_mm.registry import MODELS
from projects.streams.matching import no_loss
from projects.streams.outputs import StreamOutputs
from projects.streams.stream_encoder import region_content


def mean_of_all(values: Tensor) -> Tensor:
    """The mean over the values of all ranks, as far as this rank's values have a share in it.

    Args:
        values: (n,), where n differs between ranks and may be 0.

    Returns:
        Scalar; its mean over the ranks is the mean over all values, 0 if there
        are none. DDP takes that mean of the gradients.
    """
    count = torch.tensor(float(len(values)), device=values.device)
    size = get_dist_info()[1]
    if size > 1:
        dist.all_reduce(count)
    return values.sum() * size / count.clamp(min=1)


class Transform(nn.Sequential):
    """What BERT does with a state before it is compared with the words."""

    def __init__(self, embed_dims: int):
        super().__init__(
            nn.Linear(embed_dims, embed_dims), nn.GELU(), nn.LayerNorm(embed_dims, eps=1e-12)
        )


@MODELS.register_module()
class MaskedWordsHead(PretextHead):
    """Cross-entropy of the hidden words.

    Args:
        embed_dims: width of the states.
        vocab_size: of the text encoder.
        loss_weight: factor of the loss.
        task: name of the task, for a model that does one task a step.
    """

    min_products = 1

    def __init__(
        self, embed_dims: int, vocab_size: int, loss_weight: float = 1.0, task: str = 'mlm'
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self.task = task
        self.vocab_size = vocab_size
        self.transform = Transform(embed_dims)
        self.classifier = nn.Linear(embed_dims, vocab_size)

    def loss(self, outputs: StreamOutputs) -> dict[str, Tensor]:
        """Terms ``loss_mlm``, and ``mlm_acc`` in steps of this task."""
        if outputs.task not in (None, self.task):
            return dict(loss_mlm=no_loss(self))
        hidden = outputs.word_targets >= 0
        logits = at_least_float32(self.classifier(self.transform(outputs.states.words[hidden])))
        if outputs.word_weights is not None:
            logits = logits * outputs.word_weights[:, None].expand(hidden.shape)[hidden, None]
        targets = outputs.word_targets[hidden]
        right = (logits.argmax(dim=1) == targets).float()
        return dict(
            loss_mlm=self.loss_weight
            * mean_of_all(F.cross_entropy(logits, targets, reduction='none')),
            mlm_acc=mean_of_all(right),
        )


@MODELS.register_module()
class MaskedRegionsHead(PretextHead):
    """Mean squared error of the features of hidden regions.

    Args:
        embed_dims: width of the states.
        region_dims: width of the regions' features, the image encoder's.
        loss_weight: factor of the loss.
        tied: the last map is the transposed one of the streams' input (UNITER).
        task: name of the task, for a model that does one task a step.
    """

    min_products = 1

    def __init__(
        self,
        embed_dims: int,
        region_dims: int,
        loss_weight: float = 1.0,
        tied: bool = False,
        task: str = 'mrm',
    ):
        super().__init__()
        self.loss_weight = loss_weight
        self.task = task
        self.tied, self.region_dims = tied, region_dims
        self.transform = Transform(embed_dims)
        if tied:
            self.bias = nn.Parameter(torch.zeros(region_dims))
        else:
            self.regressor = nn.Linear(embed_dims, region_dims)

    def loss(self, outputs: StreamOutputs) -> dict[str, Tensor]:
        """Term ``loss_mrm``: 1 is what the mean of all features would have."""
        if outputs.task not in (None, self.task):
            return dict(loss_mrm=no_loss(self))
        hidden = outputs.hidden_regions
        states = self.transform(outputs.states.regions[hidden])
        if self.tied:
            found = F.linear(states, outputs.region_embed.weight.T, self.bias)
        else:
            found = self.regressor(states)
        found = at_least_float32(found)
        if outputs.region_weights is not None:
            found = found * outputs.region_weights[:, None].expand(hidden.shape)[hidden, None]
        wanted = region_content(at_least_float32(outputs.regions.feats[hidden]).detach())
        errors = (found - wanted).square().mean(dim=1)
        return dict(loss_mrm=self.loss_weight * mean_of_all(errors))
