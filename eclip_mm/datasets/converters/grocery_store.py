"""Converter of GroceryStoreDataset (Klasson et al., WACV 2019) in its upstream layout."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.datasets.transforms.clean_text import clean_text
from eclip_mm.datasets.transforms.loading import ImageDecodeError


@dataclass
class GroceryStoreReport:
    """Report on what was written and what the data set lacks.

    Attributes:
        num_products: number of products per split.
        num_photos: number of phone photos per split.
        left_out: products without a picture, per split.
        missing: lists, photos and descriptions that do not exist or cannot be
            read.
    """

    num_products: dict[str, int] = field(default_factory=dict)
    num_photos: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f'{split}.parquet: {count} products, {self.num_photos[split]} phone photos'
            + (
                f' ({len(self.left_out[split])} products without a picture left out: '
                f'{", ".join(self.left_out[split][:10])})'
                if self.left_out[split]
                else ''
            )
            for split, count in self.num_products.items()
        ]
        if self.missing:
            lines.append(f'{len(self.missing)} files of the data set are missing or unreadable:')
            lines += [f'  - {name}' for name in self.missing[:20]]
            lines += [f'  - and {len(self.missing) - 20} more'] if len(self.missing) > 20 else []
        return '\n'.join(lines)


def convert_grocery_store(
    root: str | Path,
    out_dir: str | Path,
    max_size: int | None = 256,
    quality: int = 90,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> GroceryStoreReport:
    """Write ``train.parquet``, ``val.parquet`` and, if the list exists, ``test.parquet``.

    A product is one of the 81 fine classes. Its text is its name and
    description, and its category is the coarse class. In ``train``, the iconic
    picture has the source ``merchant`` and the training photos have the source
    ``comment``. In the other splits, a product has the photos of that split's
    list only; products without a photo are left out.

    Args:
        root: folder ``GroceryStoreDataset`` or its folder ``dataset``.
        out_dir: folder for the files.
        max_size: longest side of the stored pictures in pixels; None keeps the
            original files.
        quality: JPEG quality of pictures that are scaled down.
        progress: function that wraps the list of products of each split.

    Returns:
        Report with counts and with what is missing.

    Raises:
        CatalogueError: ``root`` is not the data set, or one of its lists has an
            unexpected row or no photo that can be used.
    """
    root, out_dir = Path(root), Path(out_dir)
    if not (root / 'classes.csv').is_file():
        root = root / 'dataset'
    if not (root / 'classes.csv').is_file():
        raise CatalogueError(
            f'{root.parent}: neither this folder nor its folder `dataset` has a classes.csv; give '
            'the folder of a clone of github.com/marcusklasson/GroceryStoreDataset'
        )
    report = GroceryStoreReport()
    products = _read_products(root, report)
    for split in ('train', 'val', 'test'):
        list_file = root / f'{split}.txt'
        if not list_file.is_file():
            report.missing.append(f'{split}.txt ({split}.parquet is not written)')
            continue
        photos = _read_list(list_file, len(products))
        report.num_photos[split], report.left_out[split] = 0, []
        with ParquetCatalogueWriter(out_dir / f'{split}.parquet') as writer:
            for class_id, product in enumerate(progress(products)):
                images = []
                if split == 'train':
                    images += _pictures(
                        root, [product['iconic']], 'merchant', max_size, quality, report
                    )
                comments = _pictures(root, photos[class_id], 'comment', max_size, quality, report)
                images += comments
                if not images:
                    report.left_out[split].append(product['product_id'])
                    continue
                report.num_photos[split] += len(comments)
                writer.write(
                    dict(
                        product_id=product['product_id'],
                        text=product['text'],
                        category=product['category'],
                        images=images,
                    )
                )
            report.num_products[split] = writer.num_rows
            if writer.num_rows == 0:
                raise CatalogueError(
                    f'{list_file}: no product has a photo, so that {split}.parquet would be '
                    f'empty; {report}'
                )
    return report


def _read_products(root: Path, report: GroceryStoreReport) -> list[dict]:
    with open(root / 'classes.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.reader(file))[1:]
    products = []
    for number, row in enumerate(rows, 2):
        if len(row) < 6 or not row[1].isdigit() or int(row[1]) != len(products):
            raise CatalogueError(
                f'{root / "classes.csv"}, row {number}: {row} is not (name, id, coarse name, '
                'coarse id, iconic picture, description), or its id is out of order'
            )
        name, _, coarse, _, iconic, description_file = (cell.strip() for cell in row[:6])
        words = name.replace('-', ' ')
        description_path = root / description_file.lstrip('/')
        text = f'{words}.'
        if description_path.is_file():
            description = description_path.read_text(encoding='utf-8')
            text = clean_text(f'{text} {description}')[0]
        else:
            report.missing.append(description_file.lstrip('/'))
        products.append(
            dict(
                product_id=name,
                text=text,
                category=coarse.replace('-', ' '),
                iconic=iconic.lstrip('/'),
            )
        )
    return products


def _read_list(path: Path, num_classes: int) -> list[list[str]]:
    """Photos of every class. A line of the list is ``photo, fine class id, coarse class id``."""
    photos: list[list[str]] = [[] for _ in range(num_classes)]
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(',')]
        if len(cells) != 3 or not cells[1].isdigit() or int(cells[1]) >= num_classes:
            raise CatalogueError(
                f'{path}, row {number}: {line!r} is not `photo, fine class id, coarse class id` '
                f'with an id below {num_classes}'
            )
        photos[int(cells[1])].append(cells[0])
    return photos


def _pictures(
    root: Path,
    names: list[str],
    source: str,
    max_size: int | None,
    quality: int,
    report: GroceryStoreReport,
) -> list[dict]:
    images = []
    for name in names:
        try:
            images.append(
                shrink_picture(dict(path=str(root / name), source=source), max_size, quality)
            )
        except ImageDecodeError:
            report.missing.append(name)
    return images
