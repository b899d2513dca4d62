"""Transforms of the data pipeline."""

from .color import ColorJitter, RandomGray
from .formatting import PackProductInputs
from .geometry import RandomFlip, RandomResizedCrop, Resize
from .load_cropped import LoadCroppedImages
from .loading import ImageDecodeError, LoadProductImages
from .text import TokenizeText

__all__ = [
    'ColorJitter',
    'ImageDecodeError',
    'LoadCroppedImages',
    'LoadProductImages',
    'PackProductInputs',
    'RandomFlip',
    'RandomGray',
    'RandomResizedCrop',
    'Resize',
    'TokenizeText',
]
