"""Attributes of products as columns of an index."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.attributes import Attribute, read_attributes

_TEXTS = pa.list_(pa.string())
#: a float64 has no larger whole number without gaps
_MAX_EXACT = 2**53


def read_attribute_columns(
    shards: Sequence[Path], names: Sequence[str] | Mapping[str, pa.DataType]
) -> pa.Table:
    """``product_id``, and a column for each attribute; null for products without it.

    An attribute that is a list for some products is a list for all of them. Bools, numbers and
    texts that are mixed become texts. Whole numbers above 2^53 stay exact, and cannot be mixed
    with fractions.

    Args:
        shards: files of features.
        names: attributes, or the types that their columns have in an index already.

    Raises:
        ValueError: no product has such an attribute, or a value is not of the type of its column.
    """
    ids: list[str] = []
    found: list[dict[str, Attribute]] = []
    for path in shards:
        table = pq.read_table(path, columns=['product_id', 'attributes'])
        ids += table['product_id'].to_pylist()
        found += map(read_attributes, table['attributes'].to_pylist())
    columns = dict(product_id=pa.array(ids, pa.string()))
    for name in names:
        values, fix = [attributes.get(name) for attributes in found], 'build the index again'
        if isinstance(names, Mapping):
            kind = names[name]
        elif all(value is None for value in values):
            known = ', '.join(sorted({name for attributes in found for name in attributes}))
            raise ValueError(
                f'{shards[0].parent}: no product has the attribute {name!r}; there are '
                f'{known or "none"}'
            )
        else:
            kind = _type_of([value for value in values if value is not None])
            fix = 'leave it out, or write it as text in the catalogue'
        try:
            columns[name] = pa.array([_as_kind(value, kind) for value in values], kind)
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise ValueError(
                f'{shards[0].parent}: attribute {name!r} does not fit its column of the index '
                f'({kind}): {error}; {fix}'
            ) from error
    return pa.table(columns)


def _type_of(values: list[Attribute]) -> pa.DataType:
    if any(isinstance(value, list) for value in values):
        return _TEXTS
    if all(isinstance(value, bool) for value in values):
        return pa.bool_()
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        large = any(isinstance(value, int) and abs(value) > _MAX_EXACT for value in values)
        return pa.int64() if large and all(map(_is_whole, values)) else pa.float64()
    return pa.string()


def _is_whole(value: float) -> bool:
    return value == int(value)


def _as_kind(value: Attribute | None, kind: pa.DataType):
    if value is None or value == []:
        return None
    if kind == _TEXTS:
        return value if isinstance(value, list) else [str(value)]
    if kind == pa.int64() and isinstance(value, float):
        if not _is_whole(value):  # Arrow would cut its fraction off
            raise TypeError(f'{value} is no whole number')
        return int(value)
    return str(value) if kind == pa.string() and not isinstance(value, list) else value
