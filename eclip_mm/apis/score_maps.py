"""Pictures of where a model looks for a product, straight from a data set."""

from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import eclip_mm.engine  # noqa: F401  makes checkpoint loading refuse pickled code
from eclip_mm.datasets import collate_products
from eclip_mm.registry import MODELS
from eclip_mm.visualization import score_map_sheet


def load_model(cfg: Config, checkpoint: str, device: str = 'cpu') -> nn.Module:
    """The model of a config with the weights of a checkpoint, in evaluation mode."""
    init_default_scope('eclip_mm')
    model = MODELS.build(cfg.model)
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    return model.to(device).eval()


def spread_indices(size: int, count: int) -> list[int]:
    """``count`` indices spread evenly over a data set: no hand-picked examples."""
    count = min(size, count)
    return [k * size // count for k in range(count)]


@torch.no_grad()
def draw_score_maps(
    model: nn.Module, dataset: Dataset, indices: Sequence[int], title: str = '', columns: int = 3
) -> Image.Image:
    """A sheet of photos with prompt, boxes and score map.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        dataset: evaluation data set, such as ``ProductImageDataset``.
        indices: which of its items to draw.
        title: heading of the sheet.
        columns: photos side by side.
    """
    batch = collate_products([dataset[i] for i in indices])
    pictures = batch['inputs']['images'][:, 0]
    samples = model(**model.data_preprocessor(batch), mode='predict')
    items = []
    for picture, sample in zip(pictures, samples, strict=True):
        items.append(
            dict(
                image=picture.permute(1, 2, 0).numpy(),
                score_map=sample.pred_score_map,
                prompt=sample.text,
                title=f'{sample.product_id} ({sample.sources[0]})',
                gt_bboxes=sample.get('gt_bboxes', ()),
                candidates=sample.get('object_bboxes', ()),
            )
        )
    return score_map_sheet(items, columns=columns, title=title)
