"""The catalogue's row: which fields it has and what makes one unusable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import pyarrow as pa

from eclip_mm.datasets.storage.attributes import read_attributes

ROW_KEYS = ('product_id', 'text', 'category', 'images', 'attributes')
OPTIONAL_KEYS = ('category', 'attributes')
IMAGE_KEYS = ('path', 'bytes', 'source', 'boxes')
BOX_KEYS = ('bbox', 'product_id')


# The schema of our own files. Spark, BigQuery and `datasets` write the same nesting, sometimes
# with large_* or other number types, which can be read as well.
PARQUET_SCHEMA = pa.schema(
    [
        pa.field('product_id', pa.string(), nullable=False),
        pa.field('text', pa.string(), nullable=False),
        pa.field('category', pa.string()),
        pa.field(
            'images',
            pa.list_(
                pa.struct(
                    [
                        pa.field('path', pa.string()),
                        pa.field('bytes', pa.binary()),
                        pa.field('source', pa.string()),
                        pa.field(
                            'boxes',
                            pa.list_(
                                pa.struct(
                                    [
                                        pa.field('bbox', pa.list_(pa.float32())),
                                        pa.field('product_id', pa.string()),
                                    ]
                                )
                            ),
                        ),
                    ]
                )
            ),
        ),
        # JSON text: products of one file have different attributes, and of different types
        pa.field('attributes', pa.string()),
    ]
)


class CatalogueError(ValueError):
    """A catalogue, or one row of it, cannot be used.

    The message names the file, the row, the field and what to do.
    """


class BrokenGroupError(CatalogueError):
    """A row group of a Parquet file cannot be read."""


@dataclass(slots=True)
class CheckedRow:
    """What the index of a catalogue keeps of a row without fault.

    Attributes:
        product_id: id of the product.
        sources: source of each of its pictures.
    """

    product_id: str
    sources: list[str]


def set_fields(image: Mapping, boxes: bool = True) -> dict:
    """The fields of a stored image that are set, with or without its boxes."""
    return {k: v for k, v in image.items() if v is not None and (boxes or k != 'boxes')}


def validate_row(row: Mapping, where: str, empty_pictures: bool = False) -> None:
    """Check one catalogue row against the schema.

    Args:
        row: ``{product_id, text, category, images, attributes}``; see
            :mod:`eclip_mm.datasets.catalogue`. ``category`` and ``attributes`` may be left out or
            None. The files of pictures are not opened.
        where: file and row number; every message begins with it.
        empty_pictures: let pictures without any content pass. Writers refuse a row for them,
            readers leave out the picture alone, like any other that cannot be decoded.

    Raises:
        CatalogueError: the row has a fault; the message names the first one.
    """
    if not isinstance(row, Mapping):
        raise CatalogueError(
            f'{where}: a row is an object with the fields {", ".join(ROW_KEYS)}, '
            f'this one is {_describe(row)}'
        )
    _check_keys(row, ROW_KEYS, where, 'row')
    _check_string(row, 'product_id', where, 'write the id as a string, unique in the catalogue')
    _check_string(row, 'text', where, 'give the product a title or description')
    category = row.get('category')
    if category is not None and (not isinstance(category, str) or not category.strip()):
        raise CatalogueError(
            f"{where}: field 'category' is {_describe(category)}; "
            'give a non-empty string, or null where there is none'
        )
    images = row.get('images')
    if not _is_list(images) or len(images) == 0:
        raise CatalogueError(
            f"{where}: field 'images' is {_describe(images)}; give a list of at least one "
            "picture, each {'path': ..., 'source': ...}"
        )
    for i, image in enumerate(images):
        _validate_image(image, f'images[{i}]', where, empty_pictures)
    try:
        read_attributes(row.get('attributes'))
    except ValueError as error:
        raise CatalogueError(
            f"{where}: field 'attributes': {error}; give an object such as "
            '{"brand": "Acme", "price": 9.5, "colours": ["red", "blue"]}, or leave it out'
        ) from error


def _validate_image(image, field: str, where: str, may_be_empty: bool) -> None:
    if not isinstance(image, Mapping):
        raise CatalogueError(
            f"{where}: field '{field}' is {_describe(image)}; "
            "write a picture as {'path': ..., 'source': ...}"
        )
    _check_keys(image, IMAGE_KEYS, where, field)
    path, data = image.get('path'), image.get('bytes')
    empty = path is None and not data
    if (path is None) == (data is None) and not (empty and may_be_empty):
        what = 'neither' if path is None else 'both'
        raise CatalogueError(
            f"{where}: field '{field}' has {what} of 'path' and 'bytes'; give exactly one"
        )
    if path is not None and (not isinstance(path, str) or not path.strip()):
        raise CatalogueError(
            f"{where}: field '{field}.path' is {_describe(path)}; give the path of a picture, "
            'relative to the catalogue file'
        )
    if data is not None and (
        not isinstance(data, (bytes, bytearray, memoryview)) or (empty and not may_be_empty)
    ):
        raise CatalogueError(
            f"{where}: field '{field}.bytes' is {_describe(data)}; give the bytes of an encoded "
            'picture (JPEG, PNG, ...)'
        )
    _check_string(
        image,
        'source',
        where,
        "say where the picture comes from: 'merchant', 'comment', 'video' or a word of your own",
        prefix=f'{field}.',
    )
    boxes = image.get('boxes')
    if boxes is None:
        return
    if not _is_list(boxes):
        raise CatalogueError(
            f"{where}: field '{field}.boxes' is {_describe(boxes)}; give a list of "
            "{'bbox': [x1, y1, x2, y2], 'product_id': ...}, or leave it out"
        )
    for j, box in enumerate(boxes):
        _validate_box(box, f'{field}.boxes[{j}]', where)


def _validate_box(box, field: str, where: str) -> None:
    if not isinstance(box, Mapping):
        raise CatalogueError(
            f"{where}: field '{field}' is {_describe(box)}; "
            "write a box as {'bbox': [x1, y1, x2, y2], 'product_id': ...}"
        )
    _check_keys(box, BOX_KEYS, where, field)
    bbox = box.get('bbox')
    advice = 'give [x1, y1, x2, y2] in pixels of the stored picture, x1 < x2 and y1 < y2'
    if not _is_list(bbox) or len(bbox) != 4 or not all(_is_number(v) for v in bbox):
        raise CatalogueError(f"{where}: field '{field}.bbox' is {_describe(bbox)}; {advice}")
    x1, y1, x2, y2 = bbox
    if x2 <= x1 or y2 <= y1:
        raise CatalogueError(
            f"{where}: field '{field}.bbox' is {list(bbox)}, which is empty; {advice}"
        )
    _check_string(
        box, 'product_id', where, 'name the product that the box is of', prefix=f'{field}.'
    )


def _check_keys(mapping: Mapping, allowed: Sequence[str], where: str, field: str) -> None:
    unknown = [key for key in mapping if key not in allowed]
    if unknown:
        raise CatalogueError(
            f'{where}: {field} has the unknown key {unknown[0]!r}; '
            f'remove it or correct its spelling (known: {", ".join(allowed)})'
        )


def _check_string(mapping: Mapping, key: str, where: str, advice: str, prefix: str = '') -> None:
    value = mapping.get(key)
    if not isinstance(value, str) or not value.strip():
        raise CatalogueError(f"{where}: field '{prefix}{key}' is {_describe(value)}; {advice}")


def _is_list(value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _describe(value) -> str:
    if value is None:
        return 'missing'
    if isinstance(value, (str, bytes, list, tuple, dict)) and len(value) == 0:
        return 'empty'
    if isinstance(value, str) and not value.strip():
        return 'blank'
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + '...'
    return f'{shown} ({type(value).__name__})'
