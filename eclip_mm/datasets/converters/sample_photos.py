"""The sample of real photos in ``sample_photos/``: small enough to be kept in the repository."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.converters.coco import convert_coco
from eclip_mm.datasets.converters.grocery_store import convert_grocery_store
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.utils.spread import spread_indices

#: file -> largest number of pictures of a product by their source
NUM_PICTURES = {
    'grocery/train.parquet': dict(merchant=1, comment=4),
    'grocery/val.parquet': dict(comment=2),
    'snacks/train.parquet': dict(video=5, crop=5),
    'snacks/val.parquet': dict(video=6),
}
#: longest side in pixels; the data sets store phone photos with 348 and frames with 640
GROCERY_SIZE, SNACKS_SIZE = 288, 416
QUALITY = 70

Progress = Callable[[Iterable], Iterable]


def sample_pictures(
    source: str | Path,
    target: str | Path,
    num_pictures: Mapping[str, int],
    progress: Progress = lambda rows: rows,
) -> tuple[int, int]:
    """Copy a catalogue with a few pictures of each product, spread evenly over its pictures.

    Neighbours in a list of photos or in a video look alike, so spread pictures differ more than
    the first ones do.

    Args:
        source: catalogue to read.
        target: ``.parquet`` file to write.
        num_pictures: source of pictures -> largest number of pictures of it for a product.
            Pictures of other sources, and products without a picture left, are left out.
        progress: function that wraps the row numbers.

    Returns:
        Number of products and of pictures written.

    Raises:
        CatalogueError: no product has a picture of these sources.
    """
    rows, written = read_catalogue(source), 0
    with ParquetCatalogueWriter(target) as writer:
        for index in progress(range(len(rows))):
            sources = rows.image_sources(index)
            chosen = []
            for name, count in num_pictures.items():
                places = [place for place, own in enumerate(sources) if own == name]
                chosen += [places[i] for i in spread_indices(len(places), count)]
            if chosen:
                writer.write(rows.load(index, sorted(chosen)))
                written += len(chosen)
        if not written:
            raise CatalogueError(
                f'{source}: no picture has one of the sources {", ".join(num_pictures)}; it has '
                f'{", ".join(rows.source_names)}'
            )
    return writer.num_rows, written


def write_sample_photos(
    grocery_store: str | Path,
    snacks: str | Path,
    out_dir: str | Path,
    progress: Progress = lambda rows: rows,
) -> dict[str, tuple[int, int]]:
    """Write the four catalogues of the sample; the same data sets give the same files.

    ``grocery/train.parquet`` has the merchant picture and some phone photos of each product, and
    ``grocery/val.parquet`` other phone photos. ``snacks/train.parquet`` has frames and cut-outs of
    one video, and ``snacks/val.parquet`` has frames of the other video with all boxes.

    Args:
        grocery_store: folder ``GroceryStoreDataset`` of a clone.
        snacks: folder with ``annotations/``, ``images/`` and ``products.json``.
        out_dir: folder to write to.
        progress: function that wraps rows.

    Returns:
        File -> number of products and of pictures.

    Raises:
        CatalogueError: a data set cannot be read, or its layout is another.
    """
    snacks, out_dir = Path(snacks), Path(out_dir)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder)
        convert_grocery_store(
            grocery_store, whole / 'grocery', GROCERY_SIZE, QUALITY, progress=progress
        )
        for split, pictures in (('train', 'both'), ('val', 'frames')):
            convert_coco(
                snacks / 'annotations' / f'{split}.json',
                snacks / 'images',
                whole / 'snacks' / f'{split}.parquet',
                products=snacks / 'products.json',
                pictures=pictures,
                max_size=SNACKS_SIZE,
                quality=QUALITY,
                progress=progress,
            )
        return {
            name: sample_pictures(whole / name, out_dir / name, num_pictures, progress)
            for name, num_pictures in NUM_PICTURES.items()
        }
