"""Columns of a user's own files that are joined to the rows of an index."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.column_types import is_index, plain_values

#: names that have a meaning already, and where
_RESERVED = {
    'the rows of an index': ('file', 'row', 'category', 'attributes', 'picture', 'source'),
    'the hits of a search': ('score', 'rank', 'query'),
    'a table of PostgreSQL': tuple('id embedding tableoid xmin cmin xmax cmax ctid'.split()),
    'a document of OpenSearch': tuple(
        'vector _id _index _type _source _size _routing _field_names _ignored _nested_path '
        '_doc_count _meta _tier _version _seq_no _primary_term'.split()
    ),
}


def read_columns(paths: Sequence[str | Path]) -> list[pa.Table]:
    """Read files of columns; each table has ``product_id``, as strings.

    Columns of lists and structs, and the index of pandas, are left out. Categories become strings,
    decimals become float64, or int64 if they have no fractions, and NaN becomes null.

    Args:
        paths: files of Parquet, CSV or JSON Lines.

    Raises:
        ValueError: a file cannot be read, has no ``product_id`` or one twice, or has two columns
            of one name.
    """
    return [_read(path) for path in paths]


def check_names(tables: Mapping[str | Path, pa.Table]) -> None:
    """Check that each column of joined tables has a name of its own.

    Args:
        tables: tables by where they come from.

    Raises:
        ValueError: a name is taken; the message says where.
    """
    taken: dict[str, str | Path] = {}
    for origin, table in tables.items():
        for name in table.column_names:
            if name == 'product_id':
                continue
            for place, names in _RESERVED.items():
                if name in names:
                    raise ValueError(
                        f'{origin}: column {name!r} has a name that {place} have for something '
                        'else; rename it, or leave it out'
                    )
            if name in taken:
                raise ValueError(
                    f'column {name!r} is in {taken[name]} and in {origin}; rename one'
                )
            taken[name] = origin


def _read(path: str | Path) -> pa.Table:
    ids_as_text = pa.csv.ConvertOptions(column_types={'product_id': pa.string()})  # 007 is not 7
    readers = {
        '.csv': partial(pa.csv.read_csv, convert_options=ids_as_text),
        '.jsonl': pa.json.read_json,
    }
    try:
        table = readers.get(Path(path).suffix, pq.read_table)(path)
    except pa.ArrowException as error:  # names no file
        raise ValueError(f'{path}: cannot be read ({error})') from error
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise ValueError(f'{path}: column {twice[0]!r} is there twice; rename one')
    if 'product_id' not in table.column_names:
        raise ValueError(f'{path}: the column product_id is missing, by which rows are joined')
    columns = {}
    for name in table.column_names:
        if name.strip() and not is_index(name):  # `to_csv` of pandas writes its own without a name
            try:
                columns[name] = _plain(table[name])
            except pa.ArrowInvalid as error:
                raise ValueError(f'{path}: column {name!r}: {error}') from error
    columns['product_id'] = columns['product_id'].cast(pa.string())
    counts = pc.value_counts(columns['product_id'])
    twice = counts.filter(pc.greater(counts.field('counts'), 1))
    if len(twice):
        raise ValueError(f'{path}: product_id {twice[0]["values"].as_py()!r} is there twice')
    return pa.table({n: c for n, c in columns.items() if not pa.types.is_nested(c.type)})


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = plain_values(column.combine_chunks())
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or str(kind) == 'string_view':
        return array.cast(pa.string())
    if pa.types.is_decimal(kind):
        # a whole number that is too large for int64 is an error, and never rounded
        array = array.cast(pa.float64(), safe=False) if kind.scale > 0 else array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array
