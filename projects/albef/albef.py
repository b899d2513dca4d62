"""ALBEF: align before fuse, with momentum distillation (Li et al., NeurIPS 2021)."""

from eclip_mm.registry import MODELS
from projects.fusion.model import MatchingModel


@MODELS.register_module()
class ALBEF(MatchingModel):
    """The towers of :class:`ECLIP` with ALBEF's objective.

    Its heads are ``SoftContrastHead``, ``FusionMatchingHead`` and
    ``FusedWordsHead``; the arguments are those of :class:`MatchingModel`.
    """
