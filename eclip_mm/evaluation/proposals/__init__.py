"""Candidate boxes for grounding: callables ``(sample, image) -> (K, 4)`` of TASK_UTILS."""

from eclip_mm.evaluation.proposals.region_proposer import RegionProposer
from eclip_mm.evaluation.proposals.score_map_proposer import ScoreMapProposer

__all__ = ['RegionProposer', 'ScoreMapProposer']
