"""The pictures that sheets show: as they are stored, not as the network sees them."""

from bisect import bisect_right

import numpy as np
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset

from eclip_mm.datasets import ImageDecodeError
from eclip_mm.datasets.collate import first_pictures
from eclip_mm.visualization.canvas import to_pil

#: mean difference, of 255, of two pictures that show the same. On real photos resampling and a
#: decoder that reduces give at most 4, and another part of the photo mostly 9 to 40
_LARGEST_DIFFERENCE = 5.0


def stored_picture(dataset: Dataset, index: int) -> Image.Image | None:
    """The picture of an item as it is stored, upright.

    Args:
        dataset: an evaluation data set, also concatenated or a subset.
        index: index of the item.

    Returns:
        None if the data set has no ``stored_picture``, as ``ProductImageDataset`` has, or if the
        picture cannot be decoded, so that another one replaces it.
    """
    while isinstance(dataset, (ConcatDataset, Subset)):
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, dataset.indices[index]
        else:
            ends = [0, *dataset.cumulative_sizes]
            part = bisect_right(ends, index) - 1
            dataset, index = dataset.datasets[part], index - ends[part]
    load = getattr(dataset, 'stored_picture', None)
    try:
        return None if load is None else load(index)
    except ImageDecodeError:
        return None


def picture_or_input(dataset: Dataset, index: int) -> Image.Image | torch.Tensor:
    """The stored picture of an item; the network input, (3, H, W) uint8, if there is none."""
    stored = stored_picture(dataset, index)
    return first_pictures(dataset[index]['inputs']) if stored is None else stored


def picture_to_draw(
    dataset: Dataset, index: int, network_input: torch.Tensor
) -> Image.Image | torch.Tensor:
    """The picture over which a score map can be drawn.

    Args:
        dataset, index: as of :func:`stored_picture`.
        network_input: (3, H, W) uint8, what the pipeline made of the picture.

    Returns:
        The stored picture if the network sees the whole of it. If the pipeline cuts, turns or
        replaces it, the map belongs to ``network_input``, which is then returned.
    """
    stored = stored_picture(dataset, index)
    if stored is None:
        return network_input
    seen = to_pil(network_input)
    squashed = stored.resize(seen.size, Image.Resampling.BICUBIC)
    difference = np.asarray(squashed, np.float32) - np.asarray(seen, np.float32)
    return stored if np.abs(difference).mean() <= _LARGEST_DIFFERENCE else network_input
