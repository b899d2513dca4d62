"""GroceryStoreDataset (Klasson et al., WACV 2019), in the layout of its repository."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.datasets.transforms.loading import ImageDecodeError


@dataclass
class GroceryStoreReport:
    """What was written, and what is missing in this copy of the data set.

    Attributes:
        num_products: Number of products of each split.
        num_photos: Number of phone photos of each split.
        left_out: Products without a picture of each split.
        missing: Lists, photos and descriptions that do not exist or cannot be read.
    """

    num_products: dict[str, int] = field(default_factory=dict)
    num_photos: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f'{split}.parquet: {count} products, {self.num_photos[split]} phone photos'
            + (
                f' ({len(self.left_out[split])} products without one left out: '
                f'{", ".join(self.left_out[split][:10])})'
                if self.left_out[split]
                else ''
            )
            for split, count in self.num_products.items()
        ]
        if self.missing:
            lines.append(f'{len(self.missing)} files of the data set are missing in this copy:')
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
    """Write ``train.parquet`` and ``val.parquet``, and ``test.parquet`` if its photos are listed.

    A product is one of the 81 fine classes; its text is its name and description, its category the
    coarse class. In ``train`` the source of the iconic picture is ``merchant`` and that of the
    training photos ``comment``. The other splits have the same products with the photos of their
    own list only; products without a photo are left out.

    Args:
        root: Folder ``GroceryStoreDataset`` or its folder ``dataset``.
        out_dir: Folder for the files.
        max_size: Longest side of the stored pictures; None keeps the original files.
        quality: JPEG quality of pictures that are made smaller.
        progress: Wraps the list of products of each split.

    Returns:
        Counts, and what is missing.

    Raises:
        CatalogueError: ``root`` is not the data set.
    """
    root, out_dir = Path(root), Path(out_dir)
    if not (root / 'classes.csv').is_file():
        root = root / 'dataset'
    if not (root / 'classes.csv').is_file():
        raise CatalogueError(
            f'{root.parent}: there is no classes.csv in it or in its folder `dataset`; give the '
            'folder of a clone of github.com/marcusklasson/GroceryStoreDataset'
        )
    report = GroceryStoreReport()
    products = _read_products(root, report)
    for split in ('train', 'val', 'test'):
        list_file = root / f'{split}.txt'
        if not list_file.is_file():
            report.missing.append(f'{split}.txt (no {split}.parquet is written)')
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
    return report


def _read_products(root: Path, report: GroceryStoreReport) -> list[dict]:
    with open(root / 'classes.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.reader(file))[1:]
    products = []
    for number, row in enumerate(rows, 2):
        if len(row) < 6 or not row[1].isdigit() or int(row[1]) != len(products):
            raise CatalogueError(
                f'{root / "classes.csv"}, row {number}: {row} is not (name, id, coarse name, '
                'coarse id, iconic picture, description) in the order of the ids'
            )
        name, _, coarse, _, iconic, description_file = (cell.strip() for cell in row[:6])
        words = name.replace('-', ' ')
        description_path = root / description_file.lstrip('/')
        text = f'{words}.'
        if description_path.is_file():
            description = description_path.read_text(encoding='utf-8')
            text = f'{text} {" ".join(description.split())}'.strip()
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
    """Photos of every class; a line is ``photo, fine class id, coarse class id``."""
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
