"""The boxes of a catalogue as a COCO detection file, the inverse of :mod:`.coco`."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.storage.report import list_problems
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import picture_suffix
from eclip_mm.datasets.transforms.loading import ImageDecodeError, LoadProductImages
from eclip_mm.utils.files import whole_file

CLASSES = ('product', 'category', 'object')


@dataclass
class BoxesReport:
    """Report on what was written and what was left out.

    Attributes:
        num_images, num_boxes, num_categories: numbers of what was written.
        num_repeated: number of pictures that an earlier row contains as well: a
            frame with several products is a picture of each of them.
        problems: pictures and boxes left out, each with the reason.
    """

    num_images: int = 0
    num_boxes: int = 0
    num_categories: int = 0
    num_repeated: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f'{self.num_images} images, {self.num_boxes} boxes, {self.num_categories} categories'
            f' ({self.num_repeated} repeated pictures of several rows written once)'
        )
        return text + list_problems(self.problems)


def convert_catalogue_boxes(
    catalogue: str | Path,
    annotations: str | Path,
    image_dir: str | Path,
    classes: str = 'product',
    products: str | Path | None = None,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> BoxesReport:
    """Write the pictures that have boxes, and a COCO detection file of them.

    The boxes of a catalogue are in pixels of the picture as stored, whatever its EXIF
    orientation. Readers of COCO differ in whether they apply the orientation; a picture that has
    one is therefore written turned and without it, and its boxes are those of the turned picture.

    Args:
        catalogue: catalogue to read.
        annotations: COCO JSON file to write.
        image_dir: folder for the pictures; ``file_name`` is relative to it.
        classes: what a COCO category is: a ``product`` (named by its
            product_id, with the product's ``text``), the ``category`` of the
            product, or the single class ``object``.
        products: catalogue that lists the products. The class numbers of
            training and evaluation agree if both use the same one. Defaults to
            ``catalogue``.
        progress: function that wraps the rows.

    Returns:
        Report with counts and with what was left out.

    Raises:
        CatalogueError: a catalogue cannot be read, ``classes`` is unknown, or
            no picture has a box.
    """
    if classes not in CLASSES:
        raise CatalogueError(f'classes is {classes!r}; use one of {", ".join(CLASSES)}')
    rows = read_catalogue(catalogue)
    listed = rows if products is None else read_catalogue(products)
    categories, category_of = _categories(listed, classes)
    image_dir, report = Path(image_dir), BoxesReport(num_categories=len(categories))
    image_dir.mkdir(parents=True, exist_ok=True)
    load, seen = LoadProductImages(), set()
    images, boxes = [], []
    for row in progress(rows):
        for number, image in enumerate(row['images']):
            if not image.get('boxes'):
                continue
            where = f'{catalogue}, product {row["product_id"]}, picture {number}'
            try:
                loaded = load(dict(product_id=row['product_id'], image_records=[image]))
            except ImageDecodeError as error:
                report.problems.append(f'{where}: {error}')
                continue
            file_name = write_seen_picture(image, loaded, image_dir)
            if file_name in seen:
                report.num_repeated += 1
                continue
            seen.add(file_name)
            picture = loaded['images'][0]
            image_id = len(images) + 1
            images.append(
                dict(
                    id=image_id,
                    file_name=file_name,
                    width=picture.width,
                    height=picture.height,
                    source=image['source'],
                )
            )
            for box, xyxy in zip(image['boxes'], loaded['boxes'][0], strict=True):
                category_id = category_of(box['product_id'])
                if category_id is None:
                    report.problems.append(
                        f'{where}: box of {box["product_id"]!r}, which is no {classes} of '
                        f'{products or catalogue}; give a catalogue that lists them all'
                    )
                    continue
                x1, y1, x2, y2 = xyxy.tolist()
                boxes.append(
                    dict(
                        id=len(boxes) + 1,
                        image_id=image_id,
                        category_id=category_id,
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        area=(x2 - x1) * (y2 - y1),
                        iscrowd=0,
                    )
                )
    if not boxes:
        raise CatalogueError(f'{catalogue}: no picture has a box; {report}')
    report.num_images, report.num_boxes = len(images), len(boxes)
    Path(annotations).write_text(
        json.dumps(dict(images=images, annotations=boxes, categories=categories)),
        encoding='utf-8',
    )
    return report


def write_seen_picture(image: dict, loaded: dict, image_dir: Path) -> str:
    """Write a picture as it is seen, unless it is there already.

    The bytes stay as they are where the picture has no orientation and any program reads it.

    Args:
        image: ``path`` or ``bytes``.
        loaded: what ``LoadProductImages`` made of it, at its full size.
        image_dir: folder to write to.

    Returns:
        The name of the file, which depends on the bytes alone.
    """
    data = image['bytes'] if 'bytes' in image else Path(image['path']).read_bytes()
    suffix = picture_suffix(data) if loaded['orientations'][0] == 1 else None
    file = image_dir / f'{hashlib.sha1(data).hexdigest()[:16]}{suffix or ".png"}'
    if not file.exists():
        with whole_file(file) as part:
            if suffix is None:
                loaded['images'][0].save(part, 'PNG')
            else:
                part.write_bytes(data)
    return file.name


def _categories(rows: Iterable[dict], classes: str) -> tuple[list[dict], Callable]:
    """COCO categories, and a function from product_id to category id or None."""
    if classes == 'object':
        return [dict(id=1, name='object')], lambda product_id: 1
    name_of, texts = {}, {}
    for row in rows:
        name = row['product_id'] if classes == 'product' else row.get('category')
        if name is not None:
            name_of[row['product_id']] = name
            texts.setdefault(name, row['text'])
    ids = {name: number for number, name in enumerate(sorted(texts), 1)}
    categories = [
        dict(id=number, name=name, **(dict(text=texts[name]) if classes == 'product' else {}))
        for name, number in ids.items()
    ]
    return categories, lambda product_id: ids.get(name_of.get(product_id))
