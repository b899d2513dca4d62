"""Recall of the proposals of an RPN or detector.

Imports mmdet; a config asks for it with
``custom_imports = dict(imports=['eclip_mm.evaluation.metrics.detection_recall'])``.
"""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.metrics.detection_map import DetectionMAP
from eclip_mm.evaluation.proposals.recall import recall_figures
from eclip_mm.registry import METRICS


@METRICS.register_module()
class ProposalRecall(DetectionMAP):
    """Fraction of boxes, of any class, that a picture's first proposals overlap enough.

    mmdet's ``CocoMetric(metric='proposal_fast')`` fails with numpy >= 1.24 if
    pictures have different numbers of boxes.

    Args:
        ann_file: see :class:`DetectionMAP`.
        iou_thrs: thresholds of IoU.
        counts: numbers of proposals to look at, the best first.
        kwargs: see mmdet's ``CocoMetric``.
    """

    default_prefix = 'proposals'

    def __init__(
        self,
        ann_file: str | None = None,
        iou_thrs: Sequence[float] = (0.5, 0.7),
        counts: Sequence[int] = (10, 50, 100),
        **kwargs,
    ):
        super().__init__(ann_file=ann_file, iou_thrs=iou_thrs, **kwargs)
        self.counts = tuple(counts)

    def figure_names(self) -> set[str]:
        """``recall@{threshold}/{count}``."""
        return {f'recall@{thr}/{count}' for thr in self.iou_thrs for count in self.counts}

    def measure(self, coco, truths, predictions, prefix) -> dict[str, float]:
        """Compute ``recall@{threshold}/{count}`` in [0, 1] without crowd boxes."""
        photos = []
        for truth, found in zip(truths, predictions, strict=True):
            ids = coco.get_ann_ids(img_ids=[found['img_id']], iscrowd=False)
            boxes = np.array([a['bbox'] for a in coco.load_anns(ids)], float).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            order = np.argsort(-found['scores'], kind='stable')
            photos.append((found['bboxes'][order], boxes, (truth['height'], truth['width'])))
        return recall_figures(photos, self.iou_thrs, self.counts)
