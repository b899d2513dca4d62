"""What the streams hand to the pretext heads."""

from dataclasses import dataclass

from torch import Tensor

from eclip_mm.models.pretrain_outputs import PretrainOutputs
from projects.streams.regions import Regions


@dataclass
class StreamStates:
    """The states of words and regions.

    Attributes:
        words: (B, M, H) after the last layer.
        regions: (B, 1 + K, H) after the last layer; the first is the whole picture.
        own_words, own_regions: the same after the layers of their own stream,
            which has not seen the other one.
        word_mask: (B, M) bool, False at padding.
        region_mask: (B, 1 + K) bool.
    """

    words: Tensor
    regions: Tensor
    own_words: Tensor
    own_regions: Tensor
    word_mask: Tensor
    region_mask: Tensor


@dataclass
class StreamOutputs(PretrainOutputs):
    """The features of :class:`PretrainOutputs`, and the states that masked tasks read.

    Attributes:
        states: of words and regions, as far as they are hidden in this step.
        regions: of the pictures, as the tower gives them, nothing hidden.
        word_targets: (B, M) int64 hidden words; -100 where none is hidden, and
            in texts that do not belong to the picture.
        hidden_regions: (B, K) bool regions to be predicted.
        is_pair: (B,) bool, False where the text is another product's.
        task: the task of this step; None for all.
        word_weights, region_weights: (B,) factors of the predictions; None for 1.
    """

    states: StreamStates | None = None
    regions: Regions | None = None
    word_targets: Tensor | None = None
    hidden_regions: Tensor | None = None
    is_pair: Tensor | None = None
    task: str | None = None
    word_weights: Tensor | None = None
    region_weights: Tensor | None = None
