"""Cropping, flipping and resizing of pictures and their boxes.

Each picture of a sample is transformed independently. All random numbers come
from ``results['rng']``.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from eclip_mm.datasets.transforms.loading import as_pil
from eclip_mm.registry import TRANSFORMS

_RESAMPLE = {
    'nearest': Image.Resampling.NEAREST,
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'lanczos': Image.Resampling.LANCZOS,
}


class _Resizing:
    """Size and interpolation of transforms whose pictures have a fixed size."""

    def __init__(self, size: int | Sequence[int], interpolation: str) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if interpolation not in _RESAMPLE:
            raise ValueError(
                f"{type(self).__name__}: 'interpolation' is {interpolation!r}; "
                f'use one of {", ".join(_RESAMPLE)}'
            )
        self.height, self.width = height, width
        self.interpolation = interpolation

    def _resize(self, results: dict, i: int, region: tuple[int, int, int, int]) -> None:
        """Replace picture i by one of its regions (xyxy, whole pixels), resized."""
        x1, y1, x2, y2 = region
        results['images'][i] = self._resample(as_pil(results['images'][i]), region)
        boxes = results['boxes'][i]
        if len(boxes) == 0:
            return
        scale = np.array([self.width / (x2 - x1), self.height / (y2 - y1)] * 2, dtype=np.float32)
        boxes = (boxes - np.array([x1, y1, x1, y1], dtype=np.float32)) * scale
        boxes = boxes.clip(0, np.array([self.width, self.height] * 2, dtype=np.float32))
        visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        results['boxes'][i] = boxes[visible].astype(np.float32)
        results['box_product_ids'][i] = [
            p for p, seen in zip(results['box_product_ids'][i], visible, strict=True) if seen
        ]

    def _resample(self, image: Image.Image, region: tuple[int, int, int, int]) -> Image.Image:
        return image.resize(
            (self.width, self.height),
            _RESAMPLE[self.interpolation],
            box=region,
            # Large reductions start with averaging, which is faster and makes
            # no visible difference (PIL recommends values from 2 to 3).
            reducing_gap=3.0,
        )


@TRANSFORMS.register_module()
class Resize(_Resizing):
    """Resize whole pictures to a fixed size without keeping the aspect ratio.

    Args:
        size: side in pixels, or (height, width).
        interpolation: 'nearest', 'bilinear', 'bicubic' or 'lanczos'.
    """

    def __init__(self, size: int | Sequence[int], interpolation: str = 'bicubic') -> None:
        super().__init__(size, interpolation)

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            self._resize(results, i, (0, 0, *as_pil(image).size))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size=({self.height}, {self.width}), '
            f'interpolation={self.interpolation!r})'
        )


@TRANSFORMS.register_module()
class ResizeToArea:
    """Resize whole pictures to about the area of a square, with their own aspect ratio.

    Args:
        size: side of the square in pixels.
        multiple: width and height are multiples of so many pixels, of which a token has one.
        interpolation: as of :class:`Resize`.
    """

    def __init__(self, size: int, multiple: int = 32, interpolation: str = 'bicubic') -> None:
        self.size, self.multiple, self.interpolation = size, multiple, interpolation

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """(height, width) that a picture gets."""
        tall = (height / width) ** 0.5
        sides = (self.size * tall, self.size / tall)
        return tuple(max(1, round(side / self.multiple)) * self.multiple for side in sides)

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            size = as_pil(image).size
            resize = Resize(self.sides(*size), self.interpolation)
            resize._resize(results, i, (0, 0, *size))
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, multiple={self.multiple}, '
            f'interpolation={self.interpolation!r})'
        )


@TRANSFORMS.register_module()
class RandomResizedCrop(_Resizing):
    """Crop a random region, drawn as in torchvision, and resize it.

    A share of the area and a log-uniform aspect ratio are drawn until the
    region fits into the picture. After ten attempts the largest central region
    with an allowed ratio is used. Boxes are clipped to the region, and dropped
    if nothing of them is left.

    Args:
        size: side in pixels, or (height, width).
        scale: bounds of the region's share of the area.
        ratio: bounds of the region's width / height.
        interpolation: 'nearest', 'bilinear', 'bicubic' or 'lanczos'.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
    ) -> None:
        super().__init__(size, interpolation)
        for name, (low, high) in (('scale', scale), ('ratio', ratio)):
            if not 0 < low <= high:
                raise ValueError(
                    f"RandomResizedCrop: '{name}' is {(low, high)}; "
                    'give (low, high) with 0 < low <= high'
                )
        self.scale, self.ratio = tuple(scale), tuple(ratio)

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            self._resize(results, i, self.draw_region(*as_pil(image).size, results['rng']))
        return results

    def draw_region(
        self, width: int, height: int, rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        """Draw a region (x1, y1, x2, y2) of a picture, in whole pixels."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(low, high))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
                return x, y, x + w, y + h
        w = min(width, max(1, round(height * self.ratio[1])))
        h = min(height, max(1, round(width / self.ratio[0])))
        x, y = (width - w) // 2, (height - h) // 2
        return x, y, x + w, y + h

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size=({self.height}, {self.width}), scale={self.scale}, '
            f'ratio={self.ratio}, interpolation={self.interpolation!r})'
        )


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror each picture left to right with a given probability.

    Args:
        prob: probability in [0, 1].
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"RandomFlip: 'prob' is {prob}; give a number from 0 to 1")
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            if results['rng'].random() >= self.prob:
                continue
            if isinstance(image, np.ndarray):
                width, flipped = image.shape[1], image[:, ::-1]
            else:
                width, flipped = image.width, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            results['images'][i] = flipped
            x1, y1, x2, y2 = results['boxes'][i].T
            results['boxes'][i] = np.stack([width - x2, y1, width - x1, y2], axis=1)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
