"""Mean average precision at single IoU thresholds.

Imports mmdet; a config asks for it with
``custom_imports = dict(imports=['eclip_mm.evaluation.metrics.detection_map'])``.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation.metrics import CocoMetric
from mmengine.fileio import load
from mmengine.logging import print_log

from eclip_mm.datasets.converters.coco_check import check_coco
from eclip_mm.datasets.converters.coco_json import read_coco_json
from eclip_mm.datasets.detection import coco_index
from eclip_mm.registry import METRICS
from eclip_mm.utils.text_table import format_table


@METRICS.register_module()
class DetectionMAP(CocoMetric):
    """``mAP@0.3`` and ``mAP@0.5``, for all areas and 100 boxes per picture.

    Each figure has a single IoU threshold. mmdet's ``CocoMetric`` has fixed
    names instead: with ``iou_thrs=[0.3, 0.5]`` its ``mAP`` is the mean of the
    two, ``mAP_75`` is -1, and all figures are rounded to three digits. Both
    use the arithmetic of pycocotools.

    Broken annotations, images and categories are left out, as in
    :class:`CocoProducts`; COCO's own evaluation counts their boxes as missed.
    Pictures that were not evaluated, such as those without a file, are left
    out as well. Labels are compared by the names of the classes, whatever the
    order of the file's categories is.

    Args:
        ann_file: COCO file; None takes the boxes of the data set's samples
            (``instances`` among the ``meta_keys``).
        iou_thrs: thresholds of IoU.
        classwise: add ``AP@0.5/{category}`` for each threshold.
        class_agnostic: add ``any_class_AP@0.5`` for each threshold: all
            categories count as one, which measures the boxes alone.
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
        super().__init__(iou_thrs=list(iou_thrs), classwise=classwise, **kwargs)
        self.ann_file = ann_file
        if ann_file is not None:  # mmdet only asks whether it is None
            self._coco_api = read_coco_json(ann_file, self.backend_args)
        self.class_agnostic = class_agnostic

    def figure_names(self) -> set[str]:
        """``mAP@{threshold}``, and what the options add."""
        names = {f'mAP@{thr}' for thr in self.iou_thrs}
        if self.class_agnostic:
            names |= {f'any_class_AP@{thr}' for thr in self.iou_thrs}
        if self.classwise:
            classes = self.dataset_meta['classes']
            names |= {f'AP@{thr}/{name}' for thr in self.iou_thrs for name in classes}
        return names

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the figures of the gathered set (mmengine calls it on the main rank).

        Args:
            results: what mmdet's ``process`` keeps of each picture.

        Returns:
            The figures of :meth:`measure`, ``num_images`` and ``num_boxes``.

        Raises:
            ValueError: no picture has a box, or the file does not list an evaluated picture or
                any of the classes.
        """
        truths, predictions = zip(*results, strict=True)
        img_ids = [result['img_id'] for result in predictions]
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or f'{folder}/results'
            coco = self._truth(truths, prefix, img_ids)
            self.cat_ids = coco.get_cat_ids(cat_names=self.dataset_meta['classes'])
            boxes = coco.get_ann_ids(img_ids=img_ids, cat_ids=self.cat_ids, iscrowd=False)
            if not boxes:
                raise ValueError(
                    f'{self.ann_file}: no evaluated picture has a box of a class to be found'
                )
            figures = self.measure(coco, truths, predictions, prefix)
        return {**figures, 'num_images': len(img_ids), 'num_boxes': len(boxes)}

    def measure(
        self, coco: COCO, truths: Sequence[dict], predictions: Sequence[dict], prefix: str
    ) -> dict[str, float]:
        """Compute ``mAP@{threshold}`` in [0, 1], the mean over categories with a box.

        Args:
            coco: annotated boxes.
            truths: ``height`` and ``width`` of each picture.
            predictions: of each picture ``img_id``, ``bboxes`` (K, 4) xyxy,
                ``scores`` and ``labels`` (K,).
            prefix: path prefix of files that may be written.
        """
        found = load(self.results2json(predictions, prefix)['bbox'])
        img_ids = [result['img_id'] for result in predictions]
        precision = average_precision(coco, found, self.cat_ids, img_ids, self.iou_thrs)
        counted = precision[0] > -1  # categories without a box have no precision
        names = self.dataset_meta['classes']
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
        where, data = self.ann_file, self._coco_api
        if where is None:
            where = self.gt_to_coco_json(truths, prefix)
            data = read_coco_json(where)
        sizes = {
            img_id: (truth['width'], truth['height'])
            for img_id, truth in zip(img_ids, truths, strict=True)
        }
        checked, classes = check_coco(data, where, sizes=sizes), self.dataset_meta['classes']
        names = {category['name'] for category in checked.categories.values()}
        if names.isdisjoint(classes):
            raise ValueError(
                f'{where}: none of its categories ({_list(names)}) is a class of the detector '
                f'({_list(classes)}); give both the same names'
            )
        unknown = [img_id for img_id in img_ids if img_id not in checked.images]
        if unknown:
            raise ValueError(
                f'{where}: does not list the picture {unknown[0]!r} that was evaluated, and '
                f'{len(unknown) - 1} more; give the evaluation the file of the data set'
            )
        if checked.faults.lines():
            print_log(str(checked.faults), logger='current', level=30)
        left_out = len(checked.images) - len(set(img_ids))
        if left_out:
            print_log(f'{where}: {left_out} images were not evaluated', logger='current', level=30)
        if names - set(classes):
            print_log(
                f'{where}: boxes of {_list(names - set(classes))} do not count; the detector has '
                'no such class',
                logger='current',
                level=30,
            )
        return coco_index(checked, classes)


def _list(names: Iterable[str]) -> str:
    """The first names, for messages."""
    names = sorted(names)
    return ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')


def average_precision(
    coco: COCO,
    found: list[dict],
    cat_ids: Sequence[int],
    img_ids: Sequence[int],
    iou_thrs: Sequence[float],
    by_category: bool = True,
) -> np.ndarray:
    """Compute the AP of every category at every threshold by pycocotools.

    Args:
        coco: annotated boxes.
        found: ``image_id``, ``category_id``, ``bbox`` xywh and ``score`` of
            each detection.
        cat_ids, img_ids: categories and pictures to evaluate.
        iou_thrs: thresholds of IoU.
        by_category: False treats all categories as one.

    Returns:
        (len(iou_thrs), len(cat_ids)), or (len(iou_thrs), 1) for all categories
        as one; -1 for a category without a box.
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
    # precision is (threshold, recall, category, area, maxDets); -1 at all recalls or at none.
    # pycocotools sorts the categories, which mmdet's table by class does not take into account
    order = np.searchsorted(np.unique(cat_ids), cat_ids) if by_category else np.array([0])
    return evaluation.eval['precision'][:, :, order, 0, 0].mean(axis=1)
