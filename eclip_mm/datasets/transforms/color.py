"""Colour augmentation. It is fastest after cropping, where pictures are small."""

import numpy as np
from PIL import Image, ImageEnhance

from eclip_mm.datasets.transforms.loading import as_pil
from eclip_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ColorJitter:
    """Change brightness, contrast, saturation and hue of each picture.

    For a strength v, the first three are multiplied by a factor drawn uniformly
    from [1 - v, 1 + v], and the hue is shifted by a value drawn from [-v, v].
    The changes are applied in random order.

    Args:
        brightness: strength in [0, 1].
        contrast: strength in [0, 1].
        saturation: strength in [0, 1].
        hue: strength in [0, 0.5], as a share of the colour circle. Keep it
            small where colour distinguishes products.
        prob: probability that a picture is changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        prob: float = 1.0,
    ) -> None:
        bounds = dict(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5, prob=1.0)
        values = dict(
            brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, prob=prob
        )
        for name, value in values.items():
            if not 0 <= value <= bounds[name]:
                raise ValueError(
                    f"ColorJitter: '{name}' is {value}; give a number from 0 to {bounds[name]}"
                )
        self.prob = values.pop('prob')
        self.strengths = values

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            if results['rng'].random() < self.prob:
                results['images'][i] = self._jitter(as_pil(image), results['rng'])
        return results

    def _jitter(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        names = [name for name, strength in self.strengths.items() if strength > 0]
        for k in rng.permutation(len(names)):
            amount = rng.uniform(-1, 1) * self.strengths[names[k]]
            if names[k] == 'hue':
                image = shift_hue(image, amount)
            else:
                enhancer = _ENHANCERS[names[k]]
                image = enhancer(image).enhance(1 + amount)
        return image

    def __repr__(self) -> str:
        strengths = ', '.join(f'{name}={value}' for name, value in self.strengths.items())
        return f'{type(self).__name__}({strengths}, prob={self.prob})'


_ENHANCERS = dict(
    brightness=ImageEnhance.Brightness,
    contrast=ImageEnhance.Contrast,
    saturation=ImageEnhance.Color,
)


def shift_hue(image: Image.Image, shift: float) -> Image.Image:
    """Shift the hue of an RGB picture by a share of the colour circle."""
    hue, saturation, value = image.convert('HSV').split()
    step = round(shift * 256)
    hue = hue.point([(h + step) % 256 for h in range(256)])
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


@TRANSFORMS.register_module()
class RandomGray:
    """Convert each picture to grey with a given probability.

    Args:
        prob: probability in [0, 1].
    """

    def __init__(self, prob: float = 0.1) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"RandomGray: 'prob' is {prob}; give a number from 0 to 1")
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        for i, image in enumerate(results['images']):
            if results['rng'].random() < self.prob:
                results['images'][i] = as_pil(image).convert('L').convert('RGB')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
