"""Photos of several products as queries of instance-level retrieval (Table 3)."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.image_ids import make_image_id
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter


def write_instance_queries(
    catalogue: str | Path,
    target: str | Path,
    texts_from: Sequence[str | Path] = (),
    sources: Sequence[str] | None = None,
    min_products: int = 2,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> tuple[int, int]:
    """Write a row for each annotated photo; its text names every product in the photo.

    The product_id of the row is the image id, ``{product_id}#{number}``. The text joins the texts
    of the distinct products in the photo by commas, in the order of their boxes. The boxes keep
    their product_ids: they are the labels that ``ProductRetrieval(protocol='product1m')`` reads.

    Args:
        catalogue: Catalogue with boxes.
        target: ``.parquet`` to write.
        texts_from: Further catalogues with the texts of products in the photos.
        sources: Use only photos of these sources; None takes all.
        min_products: Leave out photos with fewer different products.
        progress: Wraps the row numbers.

    Returns:
        Number of photos written, and of photos that were left out as they show too few products.

    Raises:
        CatalogueError: A box names a product whose text is in no catalogue, or no photo is left.
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
                            'text is in none of the catalogues; add one by --texts-from'
                        )
                text = ', '.join(texts[product_id] for product_id in products)
                writer.write(dict(product_id=name, text=text, category=None, images=[image]))
                written += 1
        if not written:
            raise CatalogueError(
                f'{catalogue}: no photo has boxes of {min_products} products or more; nothing '
                f'to write to {target}'
            )
    return written, left_out
