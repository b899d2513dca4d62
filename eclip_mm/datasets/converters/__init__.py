"""Conversion of other data to catalogues; ``tools/dataset_converters`` are its command lines."""

from eclip_mm.datasets.converters.carrier import convert_carrier
from eclip_mm.datasets.converters.catalogue_boxes import convert_catalogue_boxes
from eclip_mm.datasets.converters.coco import convert_coco
from eclip_mm.datasets.converters.grocery_store import convert_grocery_store
from eclip_mm.datasets.converters.instance_queries import write_instance_queries
from eclip_mm.datasets.converters.mosaics import write_mosaics
from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.converters.sample_photos import sample_pictures, write_sample_photos
from eclip_mm.datasets.converters.split import split_catalogue

__all__ = [
    'convert_carrier',
    'convert_catalogue_boxes',
    'convert_coco',
    'convert_grocery_store',
    'sample_pictures',
    'shrink_picture',
    'split_catalogue',
    'write_instance_queries',
    'write_mosaics',
    'write_sample_photos',
]
