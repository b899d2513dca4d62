"""Metrics for mmengine's Evaluator; their arithmetic is in ``functional``."""

from eclip_mm.evaluation.metrics.base import ProductMetric
from eclip_mm.evaluation.metrics.candidate_recall import CandidateRecall
from eclip_mm.evaluation.metrics.image_text_retrieval import ImageTextRetrieval
from eclip_mm.evaluation.metrics.product_grounding import ProductGrounding
from eclip_mm.evaluation.metrics.product_retrieval import ProductRetrieval
from eclip_mm.evaluation.metrics.zero_shot_classification import ZeroShotClassification

__all__ = [
    'CandidateRecall',
    'ImageTextRetrieval',
    'ProductGrounding',
    'ProductMetric',
    'ProductRetrieval',
    'ZeroShotClassification',
]
