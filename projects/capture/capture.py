"""CAPTURE: contrastive pretraining of two streams (Zhan et al., Product1M, ICCV 2021)."""

from torch import Tensor

import projects.capture.contrast  # noqa: F401  registers its head
import projects.streams.masked_tasks  # noqa: F401
from eclip_mm.registry import MODELS
from projects.streams.contrast_model import ContrastStreams, normalised_sum
from projects.streams.outputs import StreamStates


@MODELS.register_module()
class CAPTURE(ContrastStreams):
    """Two streams, co-attention and joint layers; the arguments are those of the base.

    The vector of a product is the sum of the features of picture and text, as
    the contrast trains them.
    """

    def product_feats(self, states: StreamStates) -> Tensor:
        return normalised_sum(self.network.pool_image(states), self.network.pool_text(states))
