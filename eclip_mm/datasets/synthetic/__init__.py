from eclip_mm.datasets.synthetic.attributes import ProductSpec
from eclip_mm.datasets.synthetic.generate import (
    SyntheticCatalogueConfig,
    generate_row,
    iter_rows,
    product_spec,
    write_synthetic_catalogue,
)
from eclip_mm.datasets.synthetic.prepare import prepare_catalogue
from eclip_mm.datasets.synthetic.scenes import render_picture

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
