"""Loading and cropping in one step, which decodes no more than the crop needs."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from eclip_mm.datasets.transforms.geometry import RandomResizedCrop
from eclip_mm.datasets.transforms.loading import LoadProductImages
from eclip_mm.registry import TRANSFORMS

# Interpolations for which torch has PIL's filters, in vector instructions.
_TORCH_MODES = ('bilinear', 'bicubic')


@TRANSFORMS.register_module()
class LoadCroppedImages(LoadProductImages):
    """``LoadProductImages`` and ``RandomResizedCrop`` in one, several times faster.

    The region is drawn first, from the size in the header and with the same
    random numbers as in the two transforms. A JPEG is then decoded at 1/2, 1/4
    or 1/8 of its size if the region keeps at least ``size`` pixels, and torch
    resizes the region.

    The result differs from that of the two transforms in a few ways. The filter
    ends at the border of the region, as in torchvision, and rounds slightly
    differently. At scale 1/s, the decoder has averaged s x s pixels before the
    filter, and the region is rounded to whole pixels of the reduced picture,
    which moves its borders by up to about s/2 stored pixels.

    ``images`` are uint8 arrays (height, width, 3) if torch has the filter,
    because converting PIL pictures to arrays and back is slow. The transforms
    of this package accept both.

    Args:
        size: side in pixels, or (height, width).
        scale: bounds of the region's share of the area.
        ratio: bounds of the region's width / height.
        interpolation: 'nearest', 'bilinear', 'bicubic' or 'lanczos'. For the
            first and the last PIL is used, which is slower.
        max_pixels: as in ``LoadProductImages``.

    Raises:
        ImageDecodeError: a picture is missing, broken or too large.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
        max_pixels: int = 89_478_485,
    ) -> None:
        super().__init__(max_pixels=max_pixels)
        self.crop = _TorchCrop(size, scale, ratio, interpolation)

    def __call__(self, results: dict) -> dict:
        drawn = results['drawn_regions'] = []
        super().__call__(results)
        del results['drawn_regions']
        for i, (region, factor) in enumerate(drawn):
            self.crop.apply(results, i, _reduced(region, factor, results['images'][i].size))
        return results

    def _draft(self, image: Image.Image, seen_size: tuple[int, int], results: dict) -> None:
        region = self.crop.draw_region(*seen_size, results['rng'])
        kept = min(
            (region[2] - region[0]) // self.crop.width,
            (region[3] - region[1]) // self.crop.height,
        )
        factor = next((f for f in (8, 4, 2) if f <= kept), 1)
        if factor > 1:
            drafted = image.draft('RGB', (image.width // factor, image.height // factor))
            factor = factor if drafted else 1  # only JPEGs can be drafted
        results['drawn_regions'].append((region, factor))

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.crop}, max_pixels={self.max_pixels})'


def _reduced(
    region: tuple[int, int, int, int], factor: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A region in the nearest whole pixels of a picture reduced to ``size``.

    A reduced pixel represents ``factor`` x ``factor`` stored pixels, or fewer
    at the end of a row or column.
    """
    x1, y1, x2, y2 = (round(value / factor) for value in region)
    x2, y2 = min(x2, size[0]), min(y2, size[1])
    return min(x1, x2 - 1), min(y1, y2 - 1), x2, y2


class _TorchCrop(RandomResizedCrop):
    """Crop that resizes with torch, which has PIL's filters in vector instructions."""

    def apply(self, results: dict, i: int, region: tuple[int, int, int, int]) -> None:
        self._resize(results, i, region)

    def _resample(
        self, image: Image.Image, region: tuple[int, int, int, int]
    ) -> Image.Image | np.ndarray:
        if self.interpolation not in _TORCH_MODES:
            return super()._resample(image, region)
        pixels = torch.from_numpy(np.array(image.crop(region)))
        resized = torch.nn.functional.interpolate(
            pixels.permute(2, 0, 1)[None],  # channels last is faster
            (self.height, self.width),
            mode=self.interpolation,
            antialias=True,
        )
        return resized[0].permute(1, 2, 0).numpy()
