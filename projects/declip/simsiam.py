"""Self-supervision between two views of a picture (SimSiam: Chen and He, CVPR 2021)."""

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.precision import at_least_float32
from eclip_mm.utils.dist import gather


def negative_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Minus the mean cosine of (G, C) rows; no gradient reaches the target."""
    return -F.cosine_similarity(
        at_least_float32(predicted), at_least_float32(target).detach(), dim=-1
    ).mean()


class SimSiam(nn.Module):
    """Projector and predictor over picture features.

    Their batch norms see the global batch, whatever the number of processes.
    Without the norms the features would collapse.

    Args:
        embed_dims: width D of the features.
        hidden_dims: width of the projector.
        bottleneck_dims: inner width of the predictor.
    """

    def __init__(self, embed_dims: int, hidden_dims: int = 1024, bottleneck_dims: int = 512):
        super().__init__()
        widths = (embed_dims, hidden_dims, hidden_dims, hidden_dims)
        layers = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [
                nn.Linear(before, after, bias=False),
                nn.BatchNorm1d(after),
                nn.ReLU(inplace=True),
            ]
        self.projector = nn.Sequential(*layers[:-1])
        self.predictor = nn.Sequential(
            nn.Linear(hidden_dims, bottleneck_dims, bias=False),
            nn.BatchNorm1d(bottleneck_dims),
            nn.ReLU(inplace=True),
            nn.Linear(bottleneck_dims, hidden_dims),
        )

    def forward(self, feats: Tensor, other_feats: Tensor) -> Tensor:
        """The symmetric loss of two views, in [-1, 1].

        Args:
            feats, other_feats: (B, D) of this rank.

        Returns:
            Scalar, the same on all ranks.
        """
        first, second = (self.projector(gather(x)) for x in (feats, other_feats))
        return (
            negative_cosine(self.predictor(first), second)
            + negative_cosine(self.predictor(second), first)
        ) / 2
