"""Matching of text and picture in one stream, and of words and regions (UNITER)."""

import torch
from torch import Tensor, nn

from eclip_mm.registry import MODELS
from projects.streams.matching import StreamMatchingHead, no_loss
from projects.streams.outputs import StreamOutputs, StreamStates
from projects.uniter.transport import transport_distance


@MODELS.register_module()
class TransportMatchingHead(StreamMatchingHead):
    """``f(pool(first word))``, the pool being a linear map with a tanh, and word-region alignment.

    Args:
        embed_dims: width of the states.
        transport_weight: factor of the word-region alignment, the distances of
            pairs minus those of others, over the number of rows.
        beta, steps: of the transport, see :func:`transport_plan`.
        kwargs: of :class:`StreamMatchingHead`.
    """

    def __init__(
        self,
        embed_dims: int,
        transport_weight: float = 0.1,
        beta: float = 0.5,
        steps: int = 50,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.transport_weight = transport_weight
        self.beta, self.steps = beta, steps
        self.pool = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.Tanh())
        self.classifier = nn.Linear(embed_dims, 2)

    def logits(self, states: StreamStates) -> Tensor:
        return self.classifier(self.pool(states.words[:, 0]))

    def loss(self, outputs: StreamOutputs) -> dict[str, Tensor]:
        """Terms of :class:`StreamMatchingHead` and ``loss_wra``."""
        terms = super().loss(outputs)
        if outputs.task not in (None, self.task):
            return terms | dict(loss_wra=no_loss(self))
        states = outputs.states
        # the first word and the whole picture stand for all others, which are transported
        words = states.word_mask.clone()
        words[:, 0] = False
        distance = transport_distance(
            states.words,
            states.regions[:, 1:],
            words,
            states.region_mask[:, 1:],
            self.beta,
            self.steps,
        )
        signed = torch.where(outputs.is_pair, distance, -distance)
        return terms | dict(loss_wra=self.transport_weight * signed.mean())
