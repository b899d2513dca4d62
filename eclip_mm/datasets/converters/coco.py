"""COCO boxes and product names: every category is a product, every frame a picture of it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX
from ..schema import CatalogueError
from ..transforms.loading import ImageDecodeError
from ..writers import ParquetCatalogueWriter, write_jsonl
from .pictures import shrink_picture


@dataclass
class CocoReport:
    """What was written and what was left out.

    Attributes:
        num_products, num_pictures, num_boxes (int): Written; a frame counts
            once for every product in it, and so do its boxes.
        left_out_products (list[str]): Categories without a usable box.
        problems (list[str]): Frames and boxes left out, and why.
    """

    num_products: int = 0
    num_pictures: int = 0
    num_boxes: int = 0
    left_out_products: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f'{self.num_products} products, {self.num_pictures} pictures, {self.num_boxes} boxes'
        )
        if self.left_out_products:
            text += (
                f'\n{len(self.left_out_products)} products without a picture left out: '
                + ', '.join(self.left_out_products)
            )
        text += ''.join(f'\n  - {problem}' for problem in self.problems[:20])
        more = len(self.problems) - 20
        return text + (f'\n  - and {more} more' if more > 0 else '')


def convert_coco(
    annotations: str | Path,
    image_root: str | Path,
    target: str | Path,
    products: str | Path | None = None,
    text: str = '{name}',
    source: str = 'video',
    crops: bool = False,
    min_crop: int = 16,
    max_size: int | None = None,
    quality: int = 90,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> CocoReport:
    """Write a catalogue from a COCO detection file.

    A frame in which several products are seen becomes a picture of each of
    them, with the boxes of all. Crowd boxes are left out; boxes are clipped to
    the frame.

    Args:
        annotations (str | Path): COCO JSON.
        image_root (str | Path): Folder that ``file_name`` is relative to.
        target (str | Path): ``.parquet`` (pictures inside) or ``.jsonl``
            (paths of the frames, unless they are cropped or made smaller).
        products (str | Path, optional): JSON list of objects with
            ``product_id``, ``name`` (the category's) and what else ``text``
            uses. Without it the category id is the product id.
        text (str): Template of the product text.
        source (str): Word for where the pictures come from.
        crops (bool): Store a cut-out per box instead of frames with boxes.
        min_crop (int): Leave out cut-outs with a side shorter than this.
        max_size (int, optional): Longest side of the stored pictures.
        quality (int): JPEG quality of pictures that are written anew.
        progress (Callable): Wraps the list of products.

    Returns:
        CocoReport: Counts, and what was left out.

    Raises:
        CatalogueError: A file is not what it should be.
    """
    target = Path(target)
    if target.suffix not in (*JSONL_SUFFIXES, PARQUET_SUFFIX):
        raise CatalogueError(
            f'{target}: the suffix {target.suffix!r} is not one of a catalogue; '
            f'use {JSONL_SUFFIXES[0]} or {PARQUET_SUFFIX}'
        )
    report = CocoReport()
    data = _read_json(annotations, ('images', 'annotations', 'categories'))
    catalogue_products = _products(data['categories'], annotations, products, text)
    frames = _frames(data, annotations, Path(image_root), source, catalogue_products, report)
    options = dict(crops=crops, min_crop=min_crop, max_size=max_size, quality=quality)
    rows = _rows(progress(list(catalogue_products.values())), frames, options, report)
    if target.suffix == PARQUET_SUFFIX:
        with ParquetCatalogueWriter(target) as writer:
            for row in rows:
                writer.write(row)
    else:
        write_jsonl(rows, target)
    return report


def _read_json(path: str | Path, keys: tuple[str, ...] = ()):
    try:
        data = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CatalogueError(f'{path}: cannot be read as JSON ({error})') from error
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            raise CatalogueError(f'{path}: has no key {key!r}; give a COCO detection file')
    return data


def _products(categories: list[dict], annotations, products, text: str) -> dict[int, dict]:
    """Category id -> {product_id, text, category}."""
    entries = None
    if products is not None:
        entries = {entry['name']: entry for entry in _read_json(products)}
    result = {}
    for category in categories:
        entry = dict(product_id=str(category['id']), name=category['name'])
        if entries is not None:
            if category['name'] not in entries:
                raise CatalogueError(
                    f'{products}: no product has the name {category["name"]!r} '
                    f'of category {category["id"]} in {annotations}; add it'
                )
            entry = entries[category['name']]
        try:
            title = text.format(**entry)
        except KeyError as error:
            raise CatalogueError(
                f'the text template {text!r} uses {error}, which the product {entry} does not have'
            ) from error
        result[category['id']] = dict(
            product_id=entry['product_id'], text=title, category=category.get('supercategory')
        )
    return result


def _frames(
    data: dict, annotations, image_root: Path, source: str, products: dict, report: CocoReport
) -> list[dict]:
    """Catalogue images, one per frame with boxes, in the order of the file."""
    frames = {
        image['id']: dict(
            path=str(image_root / image['file_name']),
            source=source,
            boxes=[],
            size=(image['width'], image['height']),
        )
        for image in data['images']
    }
    for annotation in data['annotations']:
        where = f'{annotations}, annotation {annotation.get("id")}'
        frame = frames.get(annotation['image_id'])
        product = products.get(annotation['category_id'])
        if frame is None or product is None:
            report.problems.append(f'{where}: its image or category is not in the file')
            continue
        if annotation.get('iscrowd'):
            report.problems.append(f'{where}: is a crowd')
            continue
        x, y, w, h = annotation['bbox']
        width, height = frame['size']
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if x2 <= x1 or y2 <= y1:
            report.problems.append(f'{where}: the box {annotation["bbox"]} is empty')
            continue
        frame['boxes'].append(
            dict(bbox=[float(v) for v in (x1, y1, x2, y2)], product_id=product['product_id'])
        )
    for frame in frames.values():
        del frame['size']
    return [frame for frame in frames.values() if frame['boxes']]


def _rows(
    products: Iterable[dict], frames: list[dict], options: dict, report: CocoReport
) -> Iterator[dict]:
    for product in products:
        product_id = product['product_id']
        images = []
        for frame in frames:
            own = [box for box in frame['boxes'] if box['product_id'] == product_id]
            if not own:
                continue
            try:
                images += (
                    _cut_out(frame, own, options, report)
                    if options['crops']
                    else _whole(frame, options)
                )
            except ImageDecodeError as error:
                report.problems.append(str(error))
        if not images:
            report.left_out_products.append(f'{product_id} ({product["text"]})')
            continue
        report.num_products += 1
        report.num_pictures += len(images)
        report.num_boxes += sum(len(image.get('boxes', ())) for image in images)
        yield {**product, 'images': images}


def _whole(frame: dict, options: dict) -> list[dict]:
    if options['max_size'] is None:
        return [dict(frame)]
    return [shrink_picture(frame, options['max_size'], options['quality'])]


def _cut_out(frame: dict, boxes: list[dict], options: dict, report: CocoReport) -> list[dict]:
    crops = []
    for box in boxes:
        x1, y1, x2, y2 = box['bbox']
        if min(x2 - x1, y2 - y1) < options['min_crop']:
            report.problems.append(
                f'{frame["path"]}: the box {box["bbox"]} is too small to be cut out'
            )
            continue
        crops.append(
            shrink_picture(
                dict(path=frame['path'], source=frame['source']),
                options['max_size'],
                options['quality'],
                crop=(x1, y1, x2, y2),
            )
        )
    return crops
