"""Transforms of the data pipeline."""

from .color import ColorJitter, RandomGray
from .formatting import PackProductInputs
from .geometry import RandomFlip, RandomResizedCrop, Resize
from .loading import ImageDecodeError, LoadProductImages
from .text import TokenizeText

__all__ = [
    'ColorJitter',
    'ImageDecodeError',
    'LoadProductImages',
    'PackProductInputs',
    'RandomFlip',
    'RandomGray',
    'RandomResizedCrop',
    'Resize',
    'TokenizeText',
]
