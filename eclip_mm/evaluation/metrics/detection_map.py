"""Mean average precision at single IoU thresholds.

Imports mmdet; a config asks for it with
``custom_imports = dict(imports=['eclip_mm.evaluation.metrics.detection_map'])``.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import load
from mmengine.logging import print_log

from eclip_mm.datasets.converters.coco_check import check_coco
from eclip_mm.registry import METRICS
from eclip_mm.utils.text_table import format_table


@METRICS.register_module()
class DetectionMAP(CocoMetric):
    """``mAP@0.3`` and ``mAP@0.5``, each one threshold, all areas, 100 boxes a picture.

    mmdet's CocoMetric fills fixed slots: with ``iou_thrs=[0.3, 0.5]`` its
    ``mAP`` is the mean of the two, ``mAP_75`` is -1, and all are rounded to
    three digits. pycocotools' arithmetic is the same in both.

    Broken annotations (no area, outside of the image) are left out, as in
    :class:`CocoProducts`; COCO's own evaluation counts them as missed. So are
    pictures that were not evaluated, such as those without a file.

    Args:
        ann_file: COCO file; None takes the boxes of the data set's samples
            (``instances`` among the ``meta_keys``).
        iou_thrs: thresholds.
        classwise: also ``AP@0.5/{category}`` for each threshold.
        class_agnostic: also ``any_class_AP@0.5`` for each threshold: all
            categories count as one. How good are the boxes by themselves?
        kwargs: see mmdet's ``CocoMetric``.
    """

    default_prefix = 'detection'

    def __init__(
        self,
        ann_file: str | None = None,
        iou_thrs: Sequence[float] = (0.3, 0.5),
        classwise: bool = False,
        class_agnostic: bool = False,
        **kwargs,
    ):
        super().__init__(ann_file=ann_file, iou_thrs=list(iou_thrs), classwise=classwise, **kwargs)
        self.ann_file = ann_file
        self.class_agnostic = class_agnostic

    def compute_metrics(self, results: list) -> dict[str, float]:
        """
        Args:
            results: of every picture what mmdet's ``process`` keeps.

        Returns:
            What :meth:`measure` gives; ``num_images``, ``num_boxes``.

        Raises:
            ValueError: no picture has a box.
        """
        truths, predictions = zip(*results, strict=True)
        img_ids = [result['img_id'] for result in predictions]
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or f'{folder}/results'
            coco = self._truth(truths, prefix, img_ids)
            self.cat_ids = coco.get_cat_ids(cat_names=self.dataset_meta['classes'])
            boxes = coco.get_ann_ids(img_ids=img_ids, cat_ids=self.cat_ids, iscrowd=False)
            if not boxes:
                raise ValueError(f'{self.ann_file}: no evaluated picture has a box to be found')
            figures = self.measure(coco, truths, predictions, prefix)
        return {**figures, 'num_images': len(img_ids), 'num_boxes': len(boxes)}

    def measure(
        self, coco: COCO, truths: Sequence[dict], predictions: Sequence[dict], prefix: str
    ) -> dict[str, float]:
        """``mAP@{threshold}`` in [0, 1], mean over categories with a box.

        Args:
            coco: annotated boxes.
            truths: per picture ``height`` and ``width``.
            predictions: per picture ``img_id``, ``bboxes`` (K, 4) xyxy,
                ``scores`` and ``labels`` (K,).
            prefix: of files that may be written.
        """
        found = load(self.results2json(predictions, prefix)['bbox'])
        img_ids = [result['img_id'] for result in predictions]
        precision = average_precision(coco, found, self.cat_ids, img_ids, self.iou_thrs)
        counted = precision[0] > -1  # categories without a box have no precision
        names = [coco.load_cats(cat_id)[0]['name'] for cat_id in self.cat_ids]
        figures = {}
        for thr, values in zip(self.iou_thrs, precision, strict=True):
            figures[f'mAP@{thr}'] = float(values[counted].mean())
            if self.classwise:
                figures |= {
                    f'AP@{thr}/{name}': float(value)
                    for name, value in zip(names, values, strict=True)
                    if value > -1
                }
        if self.class_agnostic:
            precision_of_all = average_precision(
                coco, found, self.cat_ids, img_ids, self.iou_thrs, by_category=False
            )
            for thr, (value,) in zip(self.iou_thrs, precision_of_all, strict=True):
                figures[f'any_class_AP@{thr}'] = float(value)
        rows = [
            [name, *map(float, values)]
            for name, values, known in zip(names, precision.T, counted, strict=True)
            if known
        ]
        table = format_table(['AP', *(f'@{thr}' for thr in self.iou_thrs)], rows)
        print_log(f'\n{table}', logger='current')
        return figures

    def _truth(self, truths: Sequence[dict], prefix: str, img_ids: list) -> COCO:
        with contextlib.redirect_stdout(io.StringIO()):
            path = self.ann_file or self.gt_to_coco_json(truths, prefix)
            coco = COCO(path)
            coco.dataset.setdefault('annotations', [])
            faults = check_coco(coco.dataset, None, path)
            coco.dataset['annotations'] = [
                annotation
                for annotation in coco.dataset['annotations']
                if annotation['id'] not in faults.bad_annotations
            ]
            coco.createIndex()
        left_out = len(set(coco.get_img_ids()) - set(img_ids))
        if faults.faults:
            print_log(str(faults), logger='current', level=30)
        if left_out:
            print_log(f'{path}: {left_out} images were not evaluated', logger='current', level=30)
        return coco


def average_precision(
    coco: COCO,
    found: list[dict],
    cat_ids: Sequence[int],
    img_ids: Sequence[int],
    iou_thrs: Sequence[float],
    by_category: bool = True,
) -> np.ndarray:
    """AP of every category at every threshold by pycocotools.

    Args:
        coco: annotated boxes.
        found: ``image_id``, ``category_id``, ``bbox`` xywh, ``score``.
        cat_ids, img_ids: what counts.
        iou_thrs: thresholds.
        by_category: False takes all of them as one.

    Returns:
        (len(iou_thrs), len(cat_ids)), or (len(iou_thrs), 1) of all together; -1 for a category
        without a box.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes cannot take an empty list
        evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), 'bbox')
        evaluation.params.catIds = list(cat_ids)
        evaluation.params.imgIds = list(img_ids)
        evaluation.params.useCats = int(by_category)
        evaluation.params.iouThrs = np.asarray(iou_thrs, dtype=float)
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ['all']
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: (threshold, recall, category, area, maxDets); all recalls are -1 together.
    # pycocotools sorts the categories; mmdet's table by class does not know that
    order = np.searchsorted(np.unique(cat_ids), cat_ids) if by_category else np.array([0])
    return evaluation.eval['precision'][:, :, order, 0, 0].mean(axis=1)
