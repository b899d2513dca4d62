"""Sheets of score maps, from a model and a data set."""

from collections.abc import Mapping, Sequence
from inspect import isclass

from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from eclip_mm.apis.prediction import predict_items
from eclip_mm.apis.stored_pictures import picture_to_draw
from eclip_mm.evaluation import ProductGrounding
from eclip_mm.evaluation.functional import visible_boxes
from eclip_mm.registry import METRICS
from eclip_mm.visualization import score_map_sheet


def draw_score_maps(
    model: nn.Module,
    dataset: Dataset,
    indices: Sequence[int],
    title: str = '',
    columns: int = 3,
    evaluator: Mapping | Sequence = (),
    candidates: str | dict | None = None,
    num_ranked: int = 3,
    names_from: Dataset | None = None,
) -> Image.Image:
    """Draw a sheet of photos with prompt, ranked boxes and score map.

    Each photo is judged as by the ``ProductGrounding`` of its split
    (:func:`find_grounding`): the same candidates, ``alpha`` and least IoU, in
    pixels of the network input. It is drawn as it is stored
    (:func:`~eclip_mm.apis.stored_pictures.picture_to_draw`).

    Args:
        model: an ``ECLIP`` in evaluation mode.
        dataset: evaluation data set, such as ``ProductImageDataset``.
        indices: indices of the items to draw.
        title: heading of the sheet.
        columns: number of photos side by side.
        evaluator: metrics of the evaluation that the sheet belongs to, or
            their config, such as ``cfg.test_evaluator``.
        candidates: ``candidates`` of ``ProductGrounding``, to rank other boxes
            than the metric does.
        num_ranked: number of boxes drawn on each photo.
        names_from: see :func:`~eclip_mm.apis.predict_items`.
    """
    other = None if candidates is None else ProductGrounding(candidates=candidates)
    metrics: dict[str, ProductGrounding] = {}
    items = []
    predicted = predict_items(model, dataset, indices, names_from=names_from)
    for index, (picture, sample) in zip(indices, predicted, strict=True):
        split = sample.get('split', '')
        metric = metrics.get(split) or find_grounding(evaluator, split)
        metrics[split] = metric
        items.append(
            dict(
                image=picture_to_draw(dataset, index, picture),
                img_shape=sample.img_shape[:2],
                score_map=sample.pred_score_map,
                prompt=sample.text,
                title=f'{sample.product_id} ({sample.sources[0]})',
                gt_bboxes=visible_boxes(sample.get('gt_bboxes'), sample.img_shape[:2]),
                candidates=(other or metric).find_candidates(sample.to_dict(), picture),
                alpha=metric.alpha,
                iou_thr=metric.iou_thrs[0],
            )
        )
    return score_map_sheet(items, columns=columns, title=title, num_ranked=num_ranked)


def find_grounding(evaluator: Mapping | Sequence, split: str) -> ProductGrounding:
    """Find the metric that ranks a split's candidates for a text prompt.

    Args:
        evaluator: metrics, or their config as an evaluator takes it.
        split: ``split`` of the samples.

    Returns:
        The first ``ProductGrounding`` of the split that measures
        ``pred_score_map``, built if it is a config; one with default arguments
        if there is none.
    """
    if isinstance(evaluator, Mapping):
        evaluator = evaluator.get('metrics', evaluator)
    for metric in [evaluator] if isinstance(evaluator, Mapping) else evaluator:
        built = not isinstance(metric, Mapping)
        given = dict(vars(metric), type=type(metric)) if built else metric
        kind = METRICS.get(given['type']) if isinstance(given['type'], str) else given['type']
        if (
            isclass(kind)
            and issubclass(kind, ProductGrounding)
            and given.get('split') in (None, split)
            and given.get('score_map', 'pred_score_map') == 'pred_score_map'
        ):
            return metric if built else METRICS.build(metric)
    return ProductGrounding()
