"""SCALE: self-harmonised contrast (Dong et al., M5Product, CVPR 2022), for text and picture."""

from dataclasses import replace

import torch
from torch import Tensor

import projects.scale.harmony
import projects.streams.masked_tasks  # noqa: F401
from eclip_mm.registry import MODELS
from projects.scale.harmony import harmony
from projects.streams.contrast_model import ContrastStreams, normalised_sum
from projects.streams.outputs import StreamOutputs, StreamStates


@MODELS.register_module()
class SCALE(ContrastStreams):
    """Two streams and joint layers; the arguments are those of the base.

    The vector of a product is the sum of the first joint states of text and
    picture.
    """

    def extract(self, inputs: dict, data_samples: list) -> StreamOutputs:
        """As its base; predictions are multiplied by each modality's G with itself."""
        outputs = super().extract(inputs, data_samples)
        states = outputs.states
        weights = harmony(torch.stack([states.words[:, 0], states.regions[:, 0]], dim=1))
        return replace(outputs, word_weights=weights[:, 0, 0], region_weights=weights[:, 1, 1])

    def product_feats(self, states: StreamStates) -> Tensor:
        return normalised_sum(states.words[:, 0], states.regions[:, 0])
