"""Evaluation: ``functional`` is plain arithmetic, ``metrics`` connect it to mmengine."""

from eclip_mm.evaluation.evaluator import ProductEvaluator
from eclip_mm.evaluation.metrics import (
    ImageTextRetrieval,
    ProductGrounding,
    ProductMetric,
    ProductRetrieval,
    ZeroShotClassification,
)
from eclip_mm.evaluation.proposals import RegionProposer, ScoreMapProposer

__all__ = [
    'ImageTextRetrieval',
    'ProductEvaluator',
    'ProductGrounding',
    'ProductMetric',
    'ProductRetrieval',
    'RegionProposer',
    'ScoreMapProposer',
    'ZeroShotClassification',
]
