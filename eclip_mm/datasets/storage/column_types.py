"""Columns of Parquet as pandas, Polars, DuckDB, Spark and `datasets` write them, in one type each.

Every reader gets what this module returns: ids and texts as large_string, pictures as
large_binary, lists as large_list of structs, coordinates as float64. What cannot be converted
stays as it is, and :func:`~eclip_mm.datasets.storage.parquet_check.check_columns` names it.
"""

import re
import uuid
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eclip_mm.datasets.storage.schema import BOX_KEYS, IMAGE_KEYS, PICTURE_COLUMN

Convert = Callable[[pa.Array], pa.Array]

# Names that others use for the corners of a box, in the order of `bbox`.
_CORNERS = (('x1', 'y1', 'x2', 'y2'), ('xmin', 'ymin', 'xmax', 'ymax'))
# pandas writes an index that is not 0, 1, ... as a column.
_INDEX = re.compile(r'__index_level_\d+__')


def is_index(name: str) -> bool:
    """Whether a column is the index of pandas, which is no part of a catalogue."""
    return _INDEX.fullmatch(name) is not None


def to_catalogue_types(table: pa.Table) -> pa.Table:
    """A table of our schema.

    Args:
        table: columns as stored, or some of them.

    Raises:
        ArrowException: the values of a column do not fit together.
    """
    columns = dict(product_id=_text, text=_text, category=_text, attributes=_text, images=_images)
    for i, name in enumerate(table.column_names):
        if name == PICTURE_COLUMN and 'images' not in table.column_names:
            name = 'images'
        if name in columns:
            table = table.set_column(i, name, _each_chunk(table.column(i), columns[name]))
    return table


def _each_chunk(column: pa.ChunkedArray, convert: Convert) -> pa.ChunkedArray:
    chunks = column.chunks or [pa.array([], column.type)]
    return pa.chunked_array([convert(chunk) for chunk in chunks])


def _text(array: pa.Array) -> pa.Array:
    array = plain_values(array)
    if pa.types.is_null(array.type) or _is_string(array.type):
        return array.cast(pa.large_string())
    if _is_binary(array.type):  # Impala and older Spark do not mark text as such
        # whether it is UTF-8 is found row by row: one text that is not costs its row
        return array.cast(pa.large_binary()).cast(pa.large_string(), safe=False)
    return array


def _bytes(array: pa.Array) -> pa.Array:
    array = plain_values(array)
    known = pa.types.is_null(array.type) or _is_binary(array.type)
    return array.cast(pa.large_binary()) if known else array


def _number(array: pa.Array) -> pa.Array:
    array = plain_values(array)
    kind = array.type
    known = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return array.cast(pa.float64(), safe=False) if known else array


def _images(array: pa.Array) -> pa.Array:
    if pa.types.is_struct(array.type) and not _is_struct_of_lists(array.type, IMAGE_KEYS):
        array = _list_of(pa.array(np.ones(len(array), dtype=np.int64)), array, array.is_null())
    fields = dict(path=_text, bytes=_bytes, source=_text, boxes=_boxes)
    return _structs(array, IMAGE_KEYS, fields)


def _boxes(array: pa.Array) -> pa.Array:
    return _structs(array, BOX_KEYS, dict(bbox=_bbox, product_id=_text))


def _bbox(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_struct(kind):
        children = dict(zip((field.name for field in kind), array.flatten(), strict=True))
        for corners in _CORNERS:
            if set(corners) == set(children):
                values = [_number(children[corner]) for corner in corners]
                if all(pa.types.is_floating(value.type) for value in values):
                    joined = np.stack([v.to_numpy(zero_copy_only=False) for v in values], axis=1)
                    lengths = pa.array(np.where(array.is_valid(), 4, 0))
                    joined = pa.array(joined[np.asarray(array.is_valid())].ravel())
                    return _list_of(lengths, joined, array.is_null())
        return array
    return _map_list(array, _number)


def _structs(array: pa.Array, keys: tuple[str, ...], fields: Mapping[str, Convert]) -> pa.Array:
    """A list of structs, from one or from a struct of lists (``Sequence`` of `datasets`)."""
    if _is_struct_of_lists(array.type, keys):
        array = _transpose(array)
    return _map_list(array, lambda values: _map_struct(values, fields))


def _is_struct_of_lists(kind: pa.DataType, keys: tuple[str, ...]) -> bool:
    return (
        pa.types.is_struct(kind)
        and any(_is_list(field.type) for field in kind)
        and all(
            field.name in keys and (_is_list(field.type) or pa.types.is_null(field.type))
            for field in kind
        )
    )


def _transpose(array: pa.StructArray) -> pa.Array:
    lists = {}
    for field, child in zip(array.type, array.flatten(), strict=True):
        if _is_list(field.type) and (child.null_count < len(child) or len(child) == 0):
            lists[field.name] = child
    if not lists:
        return pa.nulls(len(array), pa.large_list(pa.struct([])))
    lengths = [pc.fill_null(pc.list_value_length(child), 0) for child in lists.values()]
    if any(not length.cast(pa.int64()).equals(lengths[0].cast(pa.int64())) for length in lengths):
        raise pa.ArrowInvalid(f'the lists {", ".join(lists)} of a row differ in length')
    values = pa.StructArray.from_arrays([c.flatten() for c in lists.values()], list(lists))
    return _list_of(lengths[0], values, array.is_null())


def _map_list(array: pa.Array, convert: Convert) -> pa.Array:
    if not _is_list(array.type):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    return _list_of(lengths, convert(array.flatten()), array.is_null())


def _list_of(lengths: pa.Array, values: pa.Array, nulls: pa.Array) -> pa.LargeListArray:
    lengths = np.where(nulls, 0, lengths)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, values, mask=nulls if pc.any(nulls) else None)


def _map_struct(array: pa.Array, fields: Mapping[str, Convert]) -> pa.Array:
    if not pa.types.is_struct(array.type):
        return array
    names = [field.name for field in array.type]
    children = [
        fields[name](child) if name in fields else child
        for name, child in zip(names, array.flatten(), strict=True)
    ]
    return pa.StructArray.from_arrays(children, names, mask=array.is_null())


def plain_values(array: pa.Array) -> pa.Array:
    """Values instead of codes of a dictionary or the storage of another type."""
    if pa.types.is_dictionary(array.type):
        return plain_values(array.dictionary_decode())
    if isinstance(array.type, pa.BaseExtensionType):
        if array.type.extension_name == 'arrow.uuid':  # DuckDB's ids
            values = array.storage.to_pylist()
            return pa.array([v and str(uuid.UUID(bytes=v)) for v in values], pa.string())
        return plain_values(array.storage)
    return array


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or _named(kind, 'string')


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _named(kind, 'binary')
    )


def _named(kind: pa.DataType, name: str) -> bool:
    return str(kind) == f'{name}_view'  # pyarrow < 16 has no function for it


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or str(kind).startswith(('list_view', 'large_list_view'))
    )
