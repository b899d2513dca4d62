"""ViLBERT: co-attention of two streams (Lu et al., NeurIPS 2019)."""

import projects.streams.masked_tasks
import projects.vilbert.alignment  # noqa: F401  registers
from eclip_mm.registry import MODELS
from projects.streams.reranking_model import RerankingStreams


@MODELS.register_module()
class ViLBERT(RerankingStreams):
    """Co-attention, alignment and masked tasks in every step; the arguments are the base's."""
