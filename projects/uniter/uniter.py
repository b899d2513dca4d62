"""UNITER: one stream over words and regions (Chen et al., ECCV 2020)."""

import projects.streams.masked_tasks
import projects.uniter.matching  # noqa: F401  registers
from eclip_mm.registry import MODELS
from projects.streams.reranking_model import RerankingStreams


@MODELS.register_module()
class UNITER(RerankingStreams):
    """Joint layers alone, one task a step; the arguments are the base's."""
