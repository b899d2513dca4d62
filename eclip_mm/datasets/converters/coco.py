"""Catalogues from COCO boxes and product names.

A row is either a category, with the frames that show it as its pictures, or a
frame, whose text names the products in it.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from eclip_mm.datasets.catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX
from eclip_mm.datasets.converters.coco_file import CocoReport, read_coco
from eclip_mm.datasets.converters.coco_pictures import BOXES
from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
from eclip_mm.datasets.transforms.clean_text import clean_rows
from eclip_mm.datasets.transforms.loading import ImageDecodeError


def convert_coco(
    annotations: str | Path,
    image_root: str | Path,
    target: str | Path,
    products: str | Path | None = None,
    text: str = '{name}',
    source: str = 'video',
    pictures: str = 'frames',
    min_crop: int = 16,
    rows: str = 'products',
    min_products: int = 1,
    max_size: int | None = None,
    quality: int = 90,
    boxes: str = 'auto',
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> CocoReport:
    """Write a catalogue from a COCO detection file.

    A frame that shows several products becomes a picture of each of them, with
    the boxes of all. Crowd boxes are left out, and boxes are clipped to the
    frame. An annotation, image or category that is broken costs itself and is
    named in the report. Categories of one product make one row.

    Args:
        annotations: COCO JSON file.
        image_root: folder that ``file_name`` is relative to.
        target: ``.parquet`` file, which contains the pictures, or ``.jsonl``
            file, which contains the paths of the frames unless they are cropped
            or scaled down.
        products: JSON list of objects with ``product_id``, ``name`` (of the
            category) and the other keys that ``text`` uses. Without it the
            category id is the product id.
        text: template of the product text.
        source: source of the pictures.
        pictures: ``frames`` stores frames with boxes, ``crops`` stores a
            cut-out of each box with the source ``crop``, ``both`` stores both.
        min_crop: shortest side of a cut-out in pixels; smaller ones are left
            out.
        rows: ``products`` makes a row per product. ``frames`` makes a row per
            frame, a query for several products at once: its product_id is the
            name of the file (without suffix if all files still have different names),
            its text joins the texts of its products by commas, and its picture
            has the boxes.
        min_products: smallest number of different products in a frame; other
            frames are left out (``rows='frames'`` only).
        max_size: longest side of the stored pictures in pixels.
        quality: JPEG quality of pictures that are encoded again.
        boxes: picture that the boxes are of where a photo has an EXIF orientation:
            ``stored``, ``seen`` (turned by it), or ``auto``, which decides by
            width and height, see :func:`~.coco_pictures.place_boxes`.
        progress: function that wraps the list of products.

    Returns:
        Report with counts and with what was left out.

    Raises:
        CatalogueError: a file cannot be read or is of another kind, an argument
            is unknown, or nothing is left to write.
    """
    for name, value, known in (
        ('pictures', pictures, ('frames', 'crops', 'both')),
        ('rows', rows, ('products', 'frames')),
        ('boxes', boxes, BOXES),
    ):
        if value not in known:
            raise CatalogueError(f'{name} is {value!r}; use one of {", ".join(known)}')
    if rows == 'frames' and pictures != 'frames':
        raise CatalogueError("rows='frames' stores whole frames only; set pictures='frames'")
    target = Path(target)
    if target.suffix not in (*JSONL_SUFFIXES, PARQUET_SUFFIX):
        raise CatalogueError(
            f'{target}: a catalogue cannot have the suffix {target.suffix!r}; '
            f'use {JSONL_SUFFIXES[0]} or {PARQUET_SUFFIX}'
        )
    report = CocoReport()
    listed, frames = read_coco(annotations, image_root, products, text, source, boxes, report)
    options = dict(pictures=pictures, min_crop=min_crop, max_size=max_size, quality=quality)
    if rows == 'frames':
        found = _frame_rows(listed, progress(frames), options, min_products, report)
    else:
        found = _product_rows(progress(listed), frames, options, report)
    found = _counted(clean_rows(found, report.texts), annotations, report)
    if target.suffix == PARQUET_SUFFIX:
        with ParquetCatalogueWriter(target) as writer:
            for row in found:
                writer.write(row)
    else:
        write_jsonl(found, target)
    return report


def _counted(rows: Iterable[dict], annotations: str | Path, report: CocoReport) -> Iterator[dict]:
    """The rows, counted; without one, an error ends the writing and nothing is left."""
    for row in rows:
        report.num_products += 1
        report.num_pictures += len(row['images'])
        report.num_boxes += sum(len(image.get('boxes', ())) for image in row['images'])
        yield row
    if report.num_products == 0:
        raise CatalogueError(
            f'{annotations}: no row is left, so that there is nothing to write; {report}'
        )


def _frame_rows(
    products: list[dict],
    frames: Iterable[dict],
    options: dict,
    min_products: int,
    report: CocoReport,
) -> Iterator[dict]:
    for frame in frames:
        seen = {box['product_id'] for box in frame['boxes']}
        if len(seen) < min_products:
            report.num_left_out_frames += 1
            continue
        texts = [product['text'] for product in products if product['product_id'] in seen]
        try:
            images = _whole(frame, options)
        except ImageDecodeError as error:
            _add_unreadable(report, error)
            continue
        yield dict(
            product_id=frame['name'],
            text=', '.join(texts),
            category=None,
            images=images,
        )


def _product_rows(
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
                if options['pictures'] != 'crops':
                    images += _whole(frame, options)
                if options['pictures'] != 'frames':
                    images += _cut_out(frame, own, options, report)
            except ImageDecodeError as error:
                _add_unreadable(report, error)
        if not images:
            report.left_out_products.append(f'{product_id} ({product["text"]})')
            continue
        yield {**product, 'images': images}


def _add_unreadable(report: CocoReport, error: ImageDecodeError) -> None:
    if str(error) not in report.faults.faults.get('unreadable', ()):  # read for each product
        report.faults.add('unreadable', str(error))


def _whole(frame: dict, options: dict) -> list[dict]:
    image = {key: frame[key] for key in ('path', 'source', 'boxes')}
    if options['max_size'] is None:
        return [image]
    return [shrink_picture(image, options['max_size'], options['quality'])]


def _cut_out(frame: dict, boxes: list[dict], options: dict, report: CocoReport) -> list[dict]:
    crops = []
    for box in boxes:
        x1, y1, x2, y2 = box['bbox']
        if min(x2 - x1, y2 - y1) < options['min_crop']:
            report.faults.add('small cut-out', f'{frame["path"]}, {box["bbox"]}')
            continue
        crops.append(
            shrink_picture(
                dict(path=frame['path'], source='crop'),
                options['max_size'],
                options['quality'],
                crop=(x1, y1, x2, y2),
            )
        )
    return crops
