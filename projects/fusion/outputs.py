"""What a model with a fusion hands to the pretext heads."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from eclip_mm.models.pretrain_outputs import PretrainOutputs
from projects.fusion.network import MatchingNetwork


@dataclass
class MatchingOutputs(PretrainOutputs):
    """The features of :class:`PretrainOutputs`, the states behind them, and two networks.

    Attributes:
        input_ids: (B, M).
        words: (B, M, H) tokens of the text tower.
        word_mask: (B, M) bool.
        patches: (B, N, C) states of the patches.
        network: which made all of these.
        teacher: the momentum model's network.
        teacher_feats: ``image`` and ``text``, (B, D) L2-normalised features of
            the momentum model.
        teacher_patches: (B, N, C) of the momentum model.
        alpha: weight of the soft targets in this step.
        draw: (name, *shape) -> (B, *shape) uniform draws of this step.
        queue_write: set by a head that keeps this step in a queue.
    """

    input_ids: Tensor | None = None
    words: Tensor | None = None
    word_mask: Tensor | None = None
    patches: Tensor | None = None
    network: MatchingNetwork | None = None
    teacher: MatchingNetwork | None = None
    teacher_feats: dict[str, Tensor] | None = None
    teacher_patches: Tensor | None = None
    alpha: float = 0.0
    draw: Callable[..., Tensor] | None = None
    queue_write: Callable[[], None] | None = None
