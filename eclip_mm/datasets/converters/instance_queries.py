"""Photos of several products as queries of instance-level retrieval (Table 3)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mmengine.logging import print_log

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.converters.pictures import check_picture
from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.datasets.transforms.loading import ImageDecodeError


def write_instance_queries(
    catalogue: str | Path,
    target: str | Path,
    texts_from: Sequence[str | Path] = (),
    sources: Sequence[str] | None = None,
    min_products: int = 2,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> tuple[int, int]:
    """Write one row per annotated photo, whose text names every product in it.

    The row's product_id is the id of the picture, ``{product_id}#{number}``.
    Its text joins the texts of the different products in the photo by commas,
    in the order of their boxes. The boxes keep their product_ids, which are the
    labels that ``ProductRetrieval(protocol='product1m')`` reads.

    Args:
        catalogue: catalogue with boxes.
        target: ``.parquet`` file to write.
        texts_from: further catalogues with texts of products in the photos.
        sources: sources of the photos to use; None uses all.
        min_products: smallest number of different products in a photo; other
            photos are left out.
        progress: function that wraps the row numbers.

    Returns:
        Number of photos written, and number of photos left out because they
        show too few products, or cannot be decoded, which a warning says.

    Raises:
        CatalogueError: a box names a product whose text is in none of the
            catalogues, or no photo shows enough products.
    """
    rows = read_catalogue(catalogue)
    texts = {}
    for other in (rows, *(read_catalogue(path, check_files=False) for path in texts_from)):
        texts.update(zip(other.product_ids, other.texts(), strict=True))
    written = left_out = 0
    with ParquetCatalogueWriter(target) as writer:
        for index in progress(range(len(rows))):
            row = rows.load(index)
            for number, image in enumerate(row['images']):
                if sources is not None and image['source'] not in sources:
                    continue
                products = list(dict.fromkeys(b['product_id'] for b in image.get('boxes') or ()))
                if len(products) < min_products:
                    left_out += 1
                    continue
                name = make_image_id(row['product_id'], rows.image_number(index, number))
                for product_id in products:
                    if product_id not in texts:
                        raise CatalogueError(
                            f'{catalogue}: picture {name} shows product {product_id!r}, whose '
                            'text is in none of the catalogues; add its catalogue by --texts-from'
                        )
                try:
                    check_picture({**image, 'image_id': name})
                except ImageDecodeError as error:
                    print_log(f'{catalogue}: {error}', logger='current', level=logging.WARNING)
                    left_out += 1
                    continue
                text = ', '.join(texts[product_id] for product_id in products)
                writer.write(dict(product_id=name, text=text, category=None, images=[image]))
                written += 1
        if not written:
            raise CatalogueError(
                f'{catalogue}: no photo has boxes of {min_products} products or more, so that '
                f'{target} would be empty; lower min_products or add boxes'
            )
    return written, left_out
