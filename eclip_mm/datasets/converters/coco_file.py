"""Reader of COCO detection files: products, and frames with their boxes."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.converters.coco_check import box_fault
from eclip_mm.datasets.storage.report import list_problems
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.transforms.clean_text import TextReport


@dataclass
class CocoReport:
    """Report on what was written and what was left out.

    Attributes:
        num_products, num_pictures, num_boxes: numbers of what was written. A
            frame and its boxes count once for every product in it. With a row
            per frame, ``num_products`` is the number of rows.
        left_out_products: categories without a usable box.
        num_left_out_frames: number of frames with too few products.
        problems: frames and boxes left out, each with the reason.
        texts: texts cleaned, and rows left out because they have no word.
    """

    num_products: int = 0
    num_pictures: int = 0
    num_boxes: int = 0
    left_out_products: list[str] = field(default_factory=list)
    num_left_out_frames: int = 0
    problems: list[str] = field(default_factory=list)
    texts: TextReport = field(default_factory=TextReport)

    def __str__(self) -> str:
        text = f'{self.num_products} rows, {self.num_pictures} pictures, {self.num_boxes} boxes'
        if self.left_out_products:
            text += (
                f'\n{len(self.left_out_products)} products without a picture left out: '
                + ', '.join(self.left_out_products)
            )
        if self.num_left_out_frames:
            text += f'\n{self.num_left_out_frames} frames with too few products left out'
        return text + list_problems(self.problems) + str(self.texts)


def read_coco(
    annotations: str | Path,
    image_root: str | Path,
    products: str | Path | None,
    text: str,
    source: str,
    report: CocoReport,
) -> tuple[list[dict], list[dict]]:
    """Products and frames of a file.

    Args:
        annotations, image_root, products, text, source: as in
            :func:`~eclip_mm.datasets.converters.coco.convert_coco`.
        report: report that receives the boxes left out.

    Returns:
        Products ``{product_id, text, category}``, and frames with a box,
        ``{path, name, source, boxes}``, in the order of the file. Boxes are
        xyxy pixels, as in the catalogue.

    Raises:
        CatalogueError: a file cannot be read or does not fit.
    """
    data = _read_json(annotations, ('images', 'annotations', 'categories'))
    by_category = _products(data['categories'], annotations, products, text)
    frames = _frames(data, annotations, Path(image_root), source, by_category, report)
    return list(by_category.values()), frames


def _read_json(path: str | Path, keys: tuple[str, ...] = ()):
    try:
        data = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CatalogueError(f'{path}: cannot be read as JSON ({error})') from error
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            raise CatalogueError(f'{path}: the key {key!r} is missing; give a COCO detection file')
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
                    f'{products}: no product has the name {category["name"]!r} of '
                    f'category {category["id"]} in {annotations}; add one'
                )
            entry = entries[category['name']]
        try:
            title = text.format(**entry)
        except KeyError as error:
            raise CatalogueError(
                f'the text template {text!r} uses the key {error}, which the product {entry} '
                'lacks; add it or change the template'
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
            name=image['file_name'],
        )
        for image in data['images']
    }
    images = {image['id']: image for image in data['images']}
    for annotation in data['annotations']:
        fault = box_fault(annotation, images, products)
        if fault or annotation.get('iscrowd'):
            report.problems.append(
                f'{annotations}, annotation {annotation.get("id")}: {fault or "crowd"}, '
                f'bbox {annotation["bbox"]}'
            )
            continue
        frame, product = frames[annotation['image_id']], products[annotation['category_id']]
        x, y, w, h = annotation['bbox']
        width, height = frame['size']
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        frame['boxes'].append(
            dict(bbox=[float(v) for v in (x1, y1, x2, y2)], product_id=product['product_id'])
        )
    for frame in frames.values():
        del frame['size']
    return [frame for frame in frames.values() if frame['boxes']]
