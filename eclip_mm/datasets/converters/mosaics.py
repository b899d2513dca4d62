"""Mosaics of photos of single products, for grounding figures without annotated boxes."""

import io
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages

_load = LoadProductImages()


def write_mosaics(
    catalogue: str | Path,
    target: str | Path,
    sources: Sequence[str] | None = None,
    grid: int = 2,
    cell_size: int = 72,
    seed: int = 0,
    quality: int = 90,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> tuple[int, list[str]]:
    """Write one mosaic per photo: the photo in one cell, other products in the rest.

    A cell is the central square of a photo, scaled to ``cell_size``; its box
    names the product that it shows. The box covers the whole cell: a map with
    its peak there has found the right photo, not the product in it. Chance is
    ``1 / grid ** 2``.

    Args:
        catalogue: catalogue whose photos show one product each; boxes in it are
            ignored.
        target: ``.parquet`` file to write, with a row per product of
            ``catalogue``.
        sources: sources of the photos to use; None uses all.
        grid: number of cells per side.
        cell_size: side of a cell in pixels.
        seed: seed of the positions and of the other products; the same
            catalogue and seed give the same mosaics.
        quality: JPEG quality.
        progress: function that wraps the row numbers.

    Returns:
        Number of mosaics written, and a message for each photo that cannot be
        decoded.

    Raises:
        CatalogueError: there are fewer products with photos than cells.
    """
    rows, problems = read_catalogue(catalogue), []
    cells: dict[int, list[Image.Image]] = {}
    for index in progress(range(len(rows))):
        for image in rows.load(index)['images']:
            if sources is not None and image['source'] not in sources:
                continue
            try:
                cell = _middle_square(image, cell_size)
            except ImageDecodeError as error:
                problems.append(f'{rows.product_ids[index]}: {error}')
            else:
                cells.setdefault(index, []).append(cell)
    if len(cells) < grid**2:
        raise CatalogueError(
            f'{catalogue}: {len(cells)} products have photos'
            f'{"" if sources is None else f" of the sources {list(sources)}"}, too few for '
            f'mosaics of {grid} x {grid} different products; use a smaller grid'
        )
    generator, written = random.Random(seed), 0
    with ParquetCatalogueWriter(target) as writer:
        for index, own in cells.items():
            images = []
            for cell in own:
                others = generator.sample([i for i in cells if i != index], grid**2 - 1)
                shown = [(i, generator.choice(cells[i])) for i in others]
                shown.insert(generator.randrange(grid**2), (index, cell))
                images.append(_mosaic(shown, rows.product_ids, grid, cell_size, quality))
            row = rows.load(index)
            writer.write(
                dict(
                    product_id=row['product_id'],
                    text=row['text'],
                    category=row.get('category'),
                    images=images,
                )
            )
            written += len(images)
    return written, problems


def _middle_square(image: dict, size: int) -> Image.Image:
    picture = _load(dict(image_records=[image]))['images'][0]
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize(
        (size, size), Image.Resampling.LANCZOS
    )


def _mosaic(
    shown: list[tuple[int, Image.Image]],
    product_ids: Sequence[str],
    grid: int,
    size: int,
    quality: int,
) -> dict:
    mosaic, boxes = Image.new('RGB', (grid * size, grid * size)), []
    for place, (index, picture) in enumerate(shown):
        x, y = place % grid * size, place // grid * size
        mosaic.paste(picture, (x, y))
        boxes.append(dict(bbox=[x, y, x + size, y + size], product_id=product_ids[index]))
    file = io.BytesIO()
    mosaic.save(file, 'JPEG', quality=quality)
    return dict(bytes=file.getvalue(), source='mosaic', boxes=boxes)
