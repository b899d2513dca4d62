"""The arithmetic of all figures, on plain arrays without framework or model."""

from eclip_mm.evaluation.functional.bootstrap import bootstrap_interval
from eclip_mm.evaluation.functional.boxes import (
    as_boxes,
    box_area,
    clip_boxes,
    pairwise_iou,
    union_area,
    union_rectangles,
    visible_boxes,
)
from eclip_mm.evaluation.functional.chance import (
    average_precision_chance,
    pointing_chance,
    recall_chance,
    right_box_chance,
    topk_chance,
)
from eclip_mm.evaluation.functional.classification import (
    classify,
    ensemble_prompts,
    topk_correct,
)
from eclip_mm.evaluation.functional.grounding import (
    ALPHA,
    box_sums,
    energy_inside,
    peak_points,
    pointing_hit,
    right_candidates,
    score_boxes,
    top1_box,
    upsample_score_map,
)
from eclip_mm.evaluation.functional.instances import (
    QueryLabels,
    average_recall_at_n,
    average_recall_chance,
    expected_hits,
    flatten_labels,
    instance_relevance,
)
from eclip_mm.evaluation.functional.retrieval import (
    ap_depth,
    average_precision_at_k,
    precision_at_k,
    recall_at_k,
)
from eclip_mm.evaluation.functional.subgroups import subgroup_rows
from eclip_mm.evaluation.functional.topk import topk_similarity

__all__ = [
    'ALPHA',
    'QueryLabels',
    'ap_depth',
    'as_boxes',
    'average_precision_at_k',
    'average_precision_chance',
    'average_recall_at_n',
    'average_recall_chance',
    'bootstrap_interval',
    'box_area',
    'box_sums',
    'classify',
    'clip_boxes',
    'energy_inside',
    'ensemble_prompts',
    'expected_hits',
    'flatten_labels',
    'instance_relevance',
    'pairwise_iou',
    'peak_points',
    'pointing_chance',
    'pointing_hit',
    'precision_at_k',
    'recall_at_k',
    'recall_chance',
    'right_box_chance',
    'right_candidates',
    'score_boxes',
    'subgroup_rows',
    'top1_box',
    'topk_chance',
    'topk_correct',
    'topk_similarity',
    'union_area',
    'union_rectangles',
    'upsample_score_map',
    'visible_boxes',
]
