"""Proposers of candidate boxes for grounding: callables ``(sample, image) -> (K, 4)``."""

from eclip_mm.evaluation.proposals.region_proposer import RegionProposer
from eclip_mm.evaluation.proposals.score_map_proposer import ScoreMapProposer

__all__ = ['RegionProposer', 'ScoreMapProposer']
