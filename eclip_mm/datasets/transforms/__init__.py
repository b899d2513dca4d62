"""Transforms of the data pipeline."""

from eclip_mm.datasets.transforms.cached_pictures import CachedPictures
from eclip_mm.datasets.transforms.clean_text import CleanText
from eclip_mm.datasets.transforms.color import ColorJitter, RandomGray
from eclip_mm.datasets.transforms.formatting import PackProductInputs
from eclip_mm.datasets.transforms.geometry import (
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeToArea,
)
from eclip_mm.datasets.transforms.load_cropped import LoadCroppedImages
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages
from eclip_mm.datasets.transforms.text import TokenizeText

__all__ = [
    'CachedPictures',
    'CleanText',
    'ColorJitter',
    'ImageDecodeError',
    'LoadCroppedImages',
    'LoadProductImages',
    'PackProductInputs',
    'RandomFlip',
    'RandomGray',
    'RandomResizedCrop',
    'Resize',
    'ResizeToArea',
    'TokenizeText',
]
