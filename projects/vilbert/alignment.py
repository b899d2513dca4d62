"""Alignment of text and picture (ViLBERT): the product of both first states, classified."""

from torch import Tensor, nn

from eclip_mm.registry import MODELS
from projects.streams.matching import StreamMatchingHead
from projects.streams.outputs import StreamStates


@MODELS.register_module()
class AlignmentHead(StreamMatchingHead):
    """``f(pool_t(first word) * pool_i(whole picture))``, pools are linear maps with a ReLU.

    Args:
        embed_dims: width of the states.
        kwargs: of :class:`StreamMatchingHead`.
    """

    def __init__(self, embed_dims: int, **kwargs):
        super().__init__(**kwargs)
        self.pool_text = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.ReLU())
        self.pool_image = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.ReLU())
        self.classifier = nn.Linear(embed_dims, 2)

    def logits(self, states: StreamStates) -> Tensor:
        return self.classifier(
            self.pool_text(states.words[:, 0]) * self.pool_image(states.regions[:, 0])
        )
