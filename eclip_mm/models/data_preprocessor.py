"""Moves a collated batch to the device and normalises its pictures."""

import warnings

import torch
from mmengine.model import BaseDataPreprocessor

from eclip_mm.registry import MODELS


@MODELS.register_module()
class ProductDataPreprocessor(BaseDataPreprocessor):
    """Turns uint8 pictures into normalised float32 on the model's device.

    Args:
        mean, std: per RGB channel, in 0..255; None for those of the image
            encoder's own processor file, or 127.5 where it has none.
    """

    def __init__(
        self, mean: tuple | None = None, std: tuple | None = None, non_blocking: bool = True
    ):
        super().__init__(non_blocking=non_blocking)
        self.given = dict(mean=mean, std=std)
        for name, value in self.given.items():
            value = torch.tensor(value or (127.5, 127.5, 127.5), dtype=torch.float32)
            self.register_buffer(name, value.view(3, 1, 1), False)

    def follow(self, preprocessing) -> None:
        """Take mean and std of a tower; warn where the config gives others.

        Args:
            preprocessing: a :class:`~eclip_mm.models.encoders.preprocessing.Preprocessing`;
                None changes nothing.
        """
        for name, given in self.given.items() if preprocessing is not None else ():
            wanted = torch.tensor(getattr(preprocessing, name), dtype=torch.float32).view(3, 1, 1)
            if given is None:
                getattr(self, name).copy_(wanted)
            elif (getattr(self, name) - wanted).abs().max() > 0.5:
                shown = ', '.join(f'{value:g}' for value in wanted.flatten().tolist())
                warnings.warn(
                    f'data_preprocessor.{name}={tuple(given)}, but {preprocessing.source} says '
                    f'({shown}): leave {name} out to take these',
                    stacklevel=2,
                )

    def forward(self, data: dict, training: bool = False) -> dict:
        """
        Args:
            data: what :func:`eclip_mm.datasets.collate_products` returns:
                ``inputs.images`` (B, V, 3, H, W), uint8 or any other type but
                float16, which stands for features of a frozen tower
                (B, V, ...); ``input_ids`` and
                ``attention_mask`` (B, M), ``data_samples``.

        Returns:
            The same with float32 images, or float32 features. The data
            samples stay where they are: only metrics read their boxes, on the
            CPU.
        """
        inputs = dict(self.cast_data(data['inputs']))
        # in place: in a large batch that runs in chunks, the pictures take most of the memory
        images = inputs['images'].to(torch.float32, copy=True)
        is_features = inputs['images'].dtype == torch.float16
        inputs['images'] = images if is_features else images.sub_(self.mean).div_(self.std)
        return dict(inputs=inputs, data_samples=data['data_samples'])
