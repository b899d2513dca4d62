"""Turning other data into catalogues; ``tools/dataset_converters`` are thin shells around it."""

from .carrier import convert_carrier
from .catalogue_boxes import convert_catalogue_boxes
from .coco import convert_coco
from .grocery_store import convert_grocery_store
from .instance_queries import write_instance_queries
from .mosaics import write_mosaics
from .pictures import shrink_picture

__all__ = [
    'convert_carrier',
    'convert_catalogue_boxes',
    'convert_coco',
    'convert_grocery_store',
    'shrink_picture',
    'write_instance_queries',
    'write_mosaics',
]
