"""Pictures of where a model looks for a product, straight from a data set."""

from collections.abc import Sequence

from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from eclip_mm.apis.prediction import predict_items
from eclip_mm.registry import TASK_UTILS
from eclip_mm.visualization import score_map_sheet


def draw_score_maps(
    model: nn.Module,
    dataset: Dataset,
    indices: Sequence[int],
    title: str = '',
    columns: int = 3,
    candidates: str | dict = 'objects',
    num_ranked: int = 3,
) -> Image.Image:
    """A sheet of photos with prompt, ranked boxes and score map.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        dataset: evaluation data set, such as ``ProductImageDataset``.
        indices: which of its items to draw.
        title: heading of the sheet.
        columns: photos side by side.
        candidates: boxes to rank: ``objects``, those of all annotated objects,
            or the config of a proposer, as of ``ProductGrounding``.
        num_ranked: how many of them are drawn.
    """
    if isinstance(candidates, str) and candidates != 'objects':
        raise ValueError(
            f"draw_score_maps: candidates is 'objects' or the config of a proposer (a dict with "
            f'type), got {candidates!r}'
        )
    propose = None if candidates == 'objects' else TASK_UTILS.build(candidates)
    items = []
    for picture, sample in predict_items(model, dataset, indices):
        if propose is None:
            boxes = sample.get('object_bboxes', ())
        else:
            boxes = propose(sample.to_dict(), picture)
        items.append(
            dict(
                image=picture,
                score_map=sample.pred_score_map,
                prompt=sample.text,
                title=f'{sample.product_id} ({sample.sources[0]})',
                gt_bboxes=sample.get('gt_bboxes', ()),
                candidates=boxes,
            )
        )
    return score_map_sheet(items, columns=columns, title=title, num_ranked=num_ranked)
