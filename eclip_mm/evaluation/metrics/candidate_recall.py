"""How many of the prompted products' boxes a proposer finds: what bounds grounding from above."""

from collections.abc import Sequence

from eclip_mm.evaluation.functional import visible_boxes
from eclip_mm.evaluation.metrics.base import ProductMetric, get_field
from eclip_mm.evaluation.proposals.recall import proposal_recall
from eclip_mm.registry import METRICS, TASK_UTILS


@METRICS.register_module()
class CandidateRecall(ProductMetric):
    """Recall of the candidates among which :class:`ProductGrounding` chooses.

    ``recall@{threshold}/{count}``: share of the boxes of prompted products
    that one of the first ``count`` candidates overlaps by that IoU. A metric
    of its own, as every proposer gives its candidates in an order, and
    ``acc@0.5`` does not see it. ``recall_num_boxes``: all boxes; those without
    area inside the picture do not count.

    Args:
        candidates: Config of a proposer, as in :class:`ProductGrounding`.
        split: As in :class:`ProductMetric`.
        iou_thrs: Thresholds of IoU.
        counts: How many candidates are looked at.
        **kwargs: Of :class:`ProductMetric`.
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

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep the boxes of one photo and the first candidates."""
        img_shape = get_field(sample, 'img_shape', type(self).__name__)[:2]
        boxes = visible_boxes(sample.get('gt_bboxes'), img_shape)
        found = self.proposer(sample, image)[: max(self.counts)]
        return dict(found=found, boxes=boxes, img_shape=img_shape)

    def measure(self, records: list[dict]) -> dict:
        """Shares of all boxes of all photos."""
        figures = dict(recall_num_boxes=sum(len(record['boxes']) for record in records))
        if not figures['recall_num_boxes']:
            if records:
                self.warn(f'none of {len(records)} photos has boxes. Its figures are left out.')
            return figures
        photos = [(record['found'], record['boxes'], record['img_shape']) for record in records]
        recall = proposal_recall(photos, self.iou_thrs, self.counts)
        for thr, row in zip(self.iou_thrs, recall, strict=True):
            for count, value in zip(self.counts, row, strict=True):
                figures[f'recall@{thr}/{count}'] = float(value)
        return figures
