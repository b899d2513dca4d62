"""Grounding: localising the product that a prompt names (Table 4, left)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional import (
    ALPHA,
    energy_inside,
    pointing_chance,
    pointing_hit,
    right_box_chance,
    right_candidates,
    top1_box,
    upsample_score_map,
    visible_boxes,
)
from eclip_mm.evaluation.metrics.base import ProductMetric, get_field
from eclip_mm.registry import METRICS, TASK_UTILS

IMAGE_PROMPT_MAP = 'pred_image_prompt_map'


@METRICS.register_module()
class ProductGrounding(ProductMetric):
    """Does the score map of the prompt select the right product in the photo?

    - ``right_box`` (the candidates are the boxes of all annotated objects, so
      it is for analysis only) or ``acc@0.5`` (the candidates come from a
      proposer): the candidate with the highest sum of S / area^alpha overlaps
      a ground-truth box of the prompted product with IoU >= the first
      threshold; ``right_box@0.7`` and ``acc@0.7`` are the same at the other
      thresholds. Chance: the fraction of candidates that would be right.
    - ``pointing``: the peak of S lies inside a right box. Chance: the fraction
      of the photo that the union of the right boxes covers.
    - ``energy``: the fraction of S's sum inside the right boxes, with the same
      chance.
    - counts: ``grounding_num_photos``, ``grounding_num_without_boxes``,
      ``mean_candidates``.

    All boxes are cut at the border of the network input. A photo is left out
    and counted in ``grounding_num_without_boxes`` if its prompted product has
    no box with an area there or, with ``candidates='objects'``, if it has no
    annotated object. A photo whose product has no picture for the prompt is
    left out and counted in ``grounding_num_without_prompt``. A photo without
    any proposal is a miss with chance 0. If all photos are left out, there are
    a warning and the counts, but no figures.

    Args:
        split: as in :class:`ProductMetric`.
        alpha: exponent of the area.
        candidates: ``'objects'`` (``object_bboxes`` of the sample), or the
            config of a proposer in TASK_UTILS (``RegionProposer``,
            ``ScoreMapProposer`` or your own): a callable
            ``proposer(sample: dict, image: Tensor | None) -> (K, 4)`` that
            returns xyxy boxes in pixels of the network input; ``image`` is the
            loader's (3, H, W) uint8 picture.
        iou_thrs: thresholds of IoU. Defaults to (0.5, 0.7).
        score_map: the map to measure: ``pred_score_map`` of the text prompt,
            or ``pred_image_prompt_map`` of another picture of the product
            (``prompt_sources`` of the data set). Metrics of one split that
            differ in prompt or candidates need different prefixes.
        **kwargs: of :class:`ProductMetric`.
    """

    default_prefix = 'grounding'

    def __init__(
        self,
        split: str | None = None,
        alpha: float = ALPHA,
        candidates: str | dict = 'objects',
        iou_thrs: Sequence[float] = (0.5, 0.7),
        score_map: str = 'pred_score_map',
        **kwargs,
    ) -> None:
        super().__init__(split=split, **kwargs)
        name = type(self).__name__
        if isinstance(candidates, str) and candidates != 'objects':
            raise ValueError(
                f"{name}: candidates is 'objects' or the config of a proposer "
                f'(a dict with type), got {candidates!r}'
            )
        if not iou_thrs or not all(0 < thr <= 1 for thr in iou_thrs):
            raise ValueError(f'{name}: iou_thrs lie in (0, 1], got {iou_thrs!r}')
        if score_map not in ('pred_score_map', IMAGE_PROMPT_MAP):
            raise ValueError(
                f"{name}: score_map is 'pred_score_map' or {IMAGE_PROMPT_MAP!r}, got {score_map!r}"
            )
        self.score_map = score_map
        self.alpha = alpha
        self.iou_thrs = tuple(iou_thrs)
        self.proposer = None if candidates == 'objects' else TASK_UTILS.build(candidates)
        self._keys = [f'acc@{thr}' for thr in self.iou_thrs]
        if self.proposer is None:
            self._keys = ['right_box', *(f'right_box@{thr}' for thr in self.iou_thrs[1:])]
        reads = getattr(self.proposer, 'score_map', score_map)
        if reads != score_map:
            raise ValueError(
                f'{name}: the candidates are cut from {reads!r}, but {score_map!r} is measured; '
                f'give the proposer score_map={score_map!r}'
            )

    def figure_names(self) -> set[str]:
        """Figures of the candidates at every threshold, ``pointing`` and ``energy``."""
        return {*self._keys, 'pointing', 'energy'}

    def find_candidates(self, sample: dict, image=None) -> np.ndarray:
        """Find the boxes among which the score map chooses.

        Args:
            sample: ``ProductDataSample.to_dict()``.
            image: (3, H, W) uint8, for the proposer.

        Returns:
            (K, 4) xyxy pixels inside the network input, each with an area.
        """
        img_shape = get_field(sample, 'img_shape', type(self).__name__)[:2]
        if self.proposer is None:
            return visible_boxes(sample.get('object_bboxes'), img_shape)
        return visible_boxes(self.proposer(sample, image), img_shape)

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Score one photo and keep only a few numbers."""
        name = type(self).__name__
        if self.score_map == IMAGE_PROMPT_MAP:
            pictures = get_field(sample, 'image_ids', name)
            if len(pictures) < 2:
                raise KeyError(
                    f'{name}: product {sample.get("product_id")!r} has no second picture as '
                    'prompt; give the data set prompt_sources'
                )
            if pictures[1] is None:
                return dict(left_out='prompt')
        img_shape = get_field(sample, 'img_shape', name)[:2]
        gt_bboxes = visible_boxes(sample.get('gt_bboxes'), img_shape)
        boxes = self.find_candidates(sample, image)
        if len(gt_bboxes) == 0 or self.proposer is None and len(boxes) == 0:
            return dict(left_out='boxes')
        patch_map = np.asarray(get_field(sample, self.score_map, name), dtype=np.float64)
        try:
            score_map = upsample_score_map(patch_map, img_shape)
            energy = energy_inside(score_map, gt_bboxes)
        except ValueError as error:
            raise ValueError(
                f'{name}: {self.score_map} of product {sample.get("product_id")!r}: {error}'
            ) from error
        right = [right_candidates(boxes, gt_bboxes, thr) for thr in self.iou_thrs]
        top1 = top1_box(score_map, boxes, self.alpha) if len(boxes) else None
        return dict(
            left_out=None,
            num_candidates=len(boxes),
            energy=energy,
            hits=[top1 is not None and bool(each[top1]) for each in right],
            hits_chance=[right_box_chance(each) for each in right],
            pointing=pointing_hit(patch_map, gt_bboxes, img_shape),
            area=pointing_chance(gt_bboxes, img_shape),
        )

    def measure(self, records: list[dict]) -> dict:
        """Compute means over the photos that have boxes."""
        photos = [record for record in records if record['left_out'] is None]
        left_out = Counter(record['left_out'] for record in records)
        figures = {
            'grounding_num_photos': len(photos),
            'grounding_num_without_boxes': left_out['boxes'],
        }
        if self.score_map == IMAGE_PROMPT_MAP:
            figures['grounding_num_without_prompt'] = left_out['prompt']
        if not photos:
            if records:
                lacks = 'boxes of its product'
                if left_out['prompt']:
                    lacks += ' and another picture of it as prompt'
                self.warn(f'none of {len(records)} photos has {lacks}. Its figures are left out.')
            return figures

        def column(key):
            return np.array([photo[key] for photo in photos], dtype=np.float64)

        figures['mean_candidates'] = float(column('num_candidates').mean())
        for index, key in enumerate(self._keys):
            self.add_figure(
                figures, key, column('hits')[:, index], column('hits_chance')[:, index], photos
            )
        self.add_figure(figures, 'pointing', column('pointing'), column('area'), photos)
        self.add_figure(figures, 'energy', column('energy'), column('area'), photos)
        return figures
