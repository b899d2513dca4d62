"""Candidate boxes cut from the score map alone."""

from collections.abc import Sequence

import cv2
import numpy as np

from eclip_mm.evaluation.functional import upsample_score_map
from eclip_mm.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ScoreMapProposer:
    """Proposes boxes around the connected parts of the map above fractions of its peak.

    Each threshold gives its own boxes, and the grounding metric chooses among
    all of them. A map that is zero everywhere gives none.

    Args:
        thresholds: fractions of the peak, in (0, 1].
        score_map: field of the sample; ``pred_image_prompt_map`` for image
            prompts.
        max_boxes: maximal number of boxes; those with the highest sum of the
            map are kept.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        score_map: str = 'pred_score_map',
        max_boxes: int = 100,
    ) -> None:
        if not thresholds or not all(0 < t <= 1 for t in thresholds):
            raise ValueError(f'ScoreMapProposer: thresholds lie in (0, 1], got {thresholds!r}')
        self.thresholds = tuple(thresholds)
        self.score_map = score_map
        self.max_boxes = max_boxes

    def __call__(self, sample: dict, image=None) -> np.ndarray:
        """Propose boxes.

        Args:
            sample: has the map (h, w) and ``img_shape``.
            image: not used.

        Returns:
            (K, 4) xyxy pixels of the network input, the highest sum first.

        Raises:
            KeyError: the sample has no such map.
        """
        if sample.get(self.score_map) is None:
            raise KeyError(
                f'ScoreMapProposer: product {sample.get("product_id")!r} has no field '
                f"{self.score_map!r}; the model's predict() writes it"
            )
        score_map = upsample_score_map(sample[self.score_map], sample['img_shape'])
        peak = score_map.max()
        found: dict[tuple, float] = {}
        if peak <= 0:
            return np.zeros((0, 4))
        for threshold in self.thresholds:
            above = (score_map >= threshold * peak).astype(np.uint8)
            count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=4)
            sums = np.bincount(labels.ravel(), score_map.ravel(), minlength=count)
            for (x, y, w, h, _), total in zip(stats[1:], sums[1:], strict=True):
                box = (float(x), float(y), float(x + w), float(y + h))
                found[box] = max(total, found.get(box, 0.0))
        boxes = sorted(found, key=lambda box: (-found[box], box))
        return np.array(boxes[: self.max_boxes]).reshape(-1, 4)
