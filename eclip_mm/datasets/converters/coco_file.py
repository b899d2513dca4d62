"""Reader of COCO detection files: products, and frames with their boxes."""

import posixpath
import reprlib
import string
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.converters.coco_check import CheckedCoco, check_coco, clip_box
from eclip_mm.datasets.converters.coco_faults import CocoFaults
from eclip_mm.datasets.converters.coco_json import read_coco_json, read_json
from eclip_mm.datasets.converters.coco_pictures import place_boxes
from eclip_mm.datasets.converters.coco_values import as_name, as_text
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
        faults: what of the file was left out, and what is odd.
        texts: texts cleaned, and rows left out because they have no word.
    """

    num_products: int = 0
    num_pictures: int = 0
    num_boxes: int = 0
    left_out_products: list[str] = field(default_factory=list)
    num_left_out_frames: int = 0
    faults: CocoFaults = field(default_factory=lambda: CocoFaults(''))
    texts: TextReport = field(default_factory=TextReport)

    def __str__(self) -> str:
        text = f'{self.num_products} rows, {self.num_pictures} pictures, {self.num_boxes} boxes'
        if self.left_out_products:
            shown = ', '.join(self.left_out_products[:20])
            more = len(self.left_out_products) - 20
            text += (
                f'\n{len(self.left_out_products)} products without a picture left out: {shown}'
                + (f', and {more} more' if more > 0 else '')
            )
        if self.num_left_out_frames:
            text += f'\n{self.num_left_out_frames} frames with too few products left out'
        return '\n'.join([text, *self.faults.lines()]) + str(self.texts)


def read_coco(
    annotations: str | Path,
    image_root: str | Path,
    products: str | Path | None,
    text: str,
    source: str,
    boxes: str,
    report: CocoReport,
) -> tuple[list[dict], list[dict]]:
    """Products and frames of a file.

    Args:
        annotations, image_root, products, text, source, boxes: as in
            :func:`~eclip_mm.datasets.converters.coco.convert_coco`.
        report: report that receives what is left out.

    Returns:
        Products ``{product_id, text, category}``, and frames with a box,
        ``{path, name, source, boxes}``, in the order of the file. Boxes are xyxy
        pixels of the stored picture, as in the catalogue.

    Raises:
        CatalogueError: a file cannot be read or does not fit.
    """
    _check_template(text)
    checked = check_coco(
        read_coco_json(annotations),
        annotations,
        image_root=image_root,
        open_files=True,
        as_seen=boxes != 'stored',
    )
    report.faults = checked.faults
    entries = None if products is None else _read_products(products, checked.faults)
    by_category = _products(checked, entries, text)
    listed: dict[str, dict] = {}
    for product in by_category.values():
        listed.setdefault(product['product_id'], product)
    frames = _frames(checked, Path(image_root), source, by_category)
    return list(listed.values()), place_boxes(frames, boxes, checked.faults)


def _check_template(text: str) -> None:
    try:
        list(string.Formatter().parse(text))
    except ValueError as error:
        raise CatalogueError(
            f'the text template {text!r} is not one ({error}); write the names of keys in braces, '
            "as in '{name}'"
        ) from error


def _read_products(path: str | Path, faults: CocoFaults) -> dict[str, dict]:
    """Name -> the keys of a product that have a value."""
    data = read_json(path)
    if not isinstance(data, list):
        raise CatalogueError(f'{path}: give a JSON list of objects with product_id and name')
    products: dict[str, dict] = {}
    for number, entry in enumerate(data):
        name = as_name(entry.get('name')) if isinstance(entry, dict) else None
        product_id = None if name is None else as_name(entry.get('product_id'))
        if product_id is None:
            faults.add('broken product', f'{path}, product {number} is {reprlib.repr(entry)}')
            continue
        if name in products:
            faults.add('repeated product', f'{path}, product {number} ({name!r})')
            continue
        if not isinstance(entry['product_id'], str):
            faults.add('number id', f'{path}, product {number} ({product_id} of {name!r})')
        # pandas writes NaN for what is missing
        values = {k: v for k, v in entry.items() if v is not None and v == v}
        products[name] = {**values, 'product_id': product_id, 'name': name}
    return products


def _products(
    checked: CheckedCoco, entries: dict[str, dict] | None, text: str
) -> dict[int | str, dict]:
    """Category id -> {product_id, text, category}; those of one product are the same."""
    result: dict[int | str, dict] = {}
    by_product: dict[str, int | str] = {}
    for identity, category in checked.categories.items():
        name = category['name']
        where = f'category {identity!r} ({name!r})'
        entry = dict(product_id=str(identity), name=name)
        if entries is not None:
            entry = entries.get(name)
        if entry is None:
            checked.faults.add('no product', f'no product has the name of {where}; add one')
            continue
        try:
            title = as_text(text.format(**entry))
        except (KeyError, IndexError) as error:
            checked.faults.add(
                'no text', f'{text!r} uses the key {error}, which the product of {where} lacks'
            )
            continue
        except (AttributeError, TypeError, ValueError) as error:
            checked.faults.add(
                'no text', f'{text!r} does not fit the product of {where} ({error})'
            )
            continue
        if not title.strip():
            checked.faults.add('no text', f'{text!r} is blank for {where}')
            continue
        product_id = entry['product_id']
        first = by_product.setdefault(product_id, identity)
        if first != identity:
            checked.faults.add(
                'same product', f'{where} is product {product_id!r}, as category {first!r} is'
            )
        result[identity] = dict(
            product_id=product_id, text=title, category=category['supercategory']
        )
    return result


def _frames(
    checked: CheckedCoco, image_root: Path, source: str, products: dict[int | str, dict]
) -> list[dict]:
    """Catalogue images, one per file with boxes, in the order of the images."""
    frames: dict[str, dict] = {}
    frame_of: dict[int | str, dict] = {}
    for identity, image in checked.images.items():
        name = posixpath.normpath(image['file_name'])
        if name in frames:
            checked.faults.add('same file', f'image {identity!r} ({image["file_name"]!r})')
        frame_of[identity] = frames.setdefault(
            name,
            dict(
                path=str(image_root / name),
                source=source,
                boxes=[],
                name=name,
                size=None if image.get('size_of_file') else (image['width'], image['height']),
            ),
        )
    for annotation in checked.annotations:
        image = checked.images[annotation['image_id']]
        product = products.get(annotation['category_id'])
        if product is None or annotation['iscrowd']:
            checked.faults.add(
                'crowd' if annotation['iscrowd'] else 'of what is left out',
                f'annotation {annotation.get("id")} ({image["file_name"]}), '
                f'bbox {annotation["bbox"]}, category {annotation["category_id"]}',
            )
            continue
        box = dict(
            bbox=list(clip_box(annotation['bbox'], image)), product_id=product['product_id']
        )
        boxes = frame_of[annotation['image_id']]['boxes']
        if box not in boxes:  # images of one file, or categories of one product, may share it
            boxes.append(box)
    found = [frame for frame in frames.values() if frame['boxes']]
    _name_rows(found)
    return found


def _name_rows(frames: list[dict]) -> None:
    """Give the frames the names of their files, without suffixes where these stay different."""
    stems = [posixpath.splitext(frame['name'])[0] for frame in frames]
    if max(Counter(stems).values(), default=1) == 1 and all(stem.strip() for stem in stems):
        for frame, stem in zip(frames, stems, strict=True):
            frame['name'] = stem
