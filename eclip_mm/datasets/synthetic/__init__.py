from .attributes import ProductSpec
from .generate import (
    SyntheticCatalogueConfig,
    generate_row,
    iter_rows,
    product_spec,
    write_synthetic_catalogue,
)
from .prepare import prepare_catalogue
from .scenes import render_picture

__all__ = [
    'ProductSpec',
    'SyntheticCatalogueConfig',
    'generate_row',
    'iter_rows',
    'prepare_catalogue',
    'product_spec',
    'render_picture',
    'write_synthetic_catalogue',
]
