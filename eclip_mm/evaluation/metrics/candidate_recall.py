"""Recall of a proposer on the prompted products' boxes: the upper bound of grounding."""

from collections.abc import Sequence

from eclip_mm.evaluation.functional import visible_boxes
from eclip_mm.evaluation.metrics.base import ProductMetric, get_field
from eclip_mm.evaluation.proposals.recall import recall_figures
from eclip_mm.registry import METRICS, TASK_UTILS


@METRICS.register_module()
class CandidateRecall(ProductMetric):
    """Recall of the candidates among which :class:`ProductGrounding` chooses.

    ``recall@{threshold}/{count}`` is the fraction of the prompted products'
    boxes that at least one of the first ``count`` candidates overlaps by that
    IoU. It depends on the order in which a proposer gives its candidates;
    ``acc@0.5`` does not. ``recall_num_boxes`` counts all boxes that have an
    area inside the picture.

    Args:
        candidates: config of a proposer, as in :class:`ProductGrounding`.
        split: as in :class:`ProductMetric`.
        iou_thrs: thresholds of IoU.
        counts: numbers of candidates to look at.
        **kwargs: of :class:`ProductMetric`.
    """

    default_prefix = 'candidates'

    def __init__(
        self,
        candidates: dict,
        split: str | None = None,
        iou_thrs: Sequence[float] = (0.5, 0.7),
        counts: Sequence[int] = (10, 50, 100),
        **kwargs,
    ) -> None:
        super().__init__(split=split, **kwargs)
        self.proposer = TASK_UTILS.build(candidates)
        self.iou_thrs = tuple(iou_thrs)
        self.counts = tuple(counts)

    def figure_names(self) -> set[str]:
        """``recall@{threshold}/{count}``."""
        return {f'recall@{thr}/{count}' for thr in self.iou_thrs for count in self.counts}

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep the boxes of one photo and the first candidates."""
        img_shape = get_field(sample, 'img_shape', type(self).__name__)[:2]
        boxes = visible_boxes(sample.get('gt_bboxes'), img_shape)
        found = self.proposer(sample, image)[: max(self.counts)]
        return dict(found=found, boxes=boxes, img_shape=img_shape)

    def measure(self, records: list[dict]) -> dict:
        """Compute recall over the boxes of all photos."""
        figures = dict(recall_num_boxes=sum(len(record['boxes']) for record in records))
        if not figures['recall_num_boxes']:
            if records:
                self.warn(f'none of {len(records)} photos has boxes. Its figures are left out.')
            return figures
        photos = [(record['found'], record['boxes'], record['img_shape']) for record in records]
        return figures | recall_figures(photos, self.iou_thrs, self.counts)
