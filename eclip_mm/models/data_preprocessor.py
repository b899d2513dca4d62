"""Moves a collated batch to the device and normalises its pictures."""

import torch
from mmengine.model import BaseDataPreprocessor

from eclip_mm.registry import MODELS


@MODELS.register_module()
class ProductDataPreprocessor(BaseDataPreprocessor):
    """Turns uint8 pictures into normalised float32 on the model's device.

    Args:
        mean, std: per RGB channel, in 0..255.
    """

    def __init__(
        self,
        mean: tuple = (127.5, 127.5, 127.5),
        std: tuple = (127.5, 127.5, 127.5),
        non_blocking: bool = True,
    ):
        super().__init__(non_blocking=non_blocking)
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """
        Args:
            data: what :func:`eclip_mm.datasets.collate_products` returns:
                ``inputs.images`` uint8 (B, V, 3, H, W), ``input_ids`` and
                ``attention_mask`` (B, M), ``data_samples``.

        Returns:
            The same with float32 images. The data samples stay where they are:
            only metrics read their boxes, on the CPU.
        """
        inputs = dict(self.cast_data(data['inputs']))
        # in place: in a large batch that runs in chunks, the pictures take most of the memory
        images = inputs['images'].to(torch.float32, copy=True)
        inputs['images'] = images.sub_(self.mean).div_(self.std)
        return dict(inputs=inputs, data_samples=data['data_samples'])
