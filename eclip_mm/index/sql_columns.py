"""Columns of an index and conditions on them in the words of PostgreSQL."""

from collections.abc import Sequence

import pyarrow as pa

from eclip_mm.index.database import in_query
from eclip_mm.utils.conditions import Condition

_TYPES = ((pa.types.is_boolean, 'boolean'), (pa.types.is_integer, 'bigint'))
_TYPES += ((pa.types.is_floating, 'double precision'), (pa.types.is_string, 'text'))
_TYPES += ((lambda kind: kind == pa.list_(pa.string()), 'text[]'),)
#: type of PostgreSQL -> type of Arrow
ARROW_TYPES = {'boolean': pa.bool_(), 'bigint': pa.int64(), 'double precision': pa.float64()}
ARROW_TYPES |= {'text': pa.string(), 'text[]': pa.list_(pa.string())}
#: as bytes, whatever the language of the database: texts are in the order of the exact index
_ORDER = ' COLLATE "C"'
_FORMS = {'in': '{} = ANY(%s)', 'not in': '{} <> ALL(%s)'}
#: of lists, whose elements stand on the right
_LIST_FORMS = {'=': '%s = ANY({})', '!=': '%s <> ALL({})', 'in': '{} && %s'}
_LIST_FORMS |= {'not in': 'NOT {} && %s', '<': '%s > ANY({})', '<=': '%s >= ANY({})'}
_LIST_FORMS |= {'>': '%s < ANY({})', '>=': '%s <= ANY({})'}


def sql_type(field: pa.Field) -> str:
    """The type of PostgreSQL for a column.

    Raises:
        ValueError: there is none.
    """
    for is_kind, name in _TYPES:
        if is_kind(field.type):
            return name
    raise ValueError(
        f'column {field.name!r} is {field.type}, which is not copied to PostgreSQL; leave it out '
        'of --columns'
    )


def stored_schema(table: str, manifest: dict) -> pa.Schema:
    """The columns of a table, from its manifest.

    Raises:
        ValueError: another version of eclip_mm wrote it.
    """
    try:
        columns = [pa.field(name, ARROW_TYPES[kind]) for name, kind in manifest['columns']]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'table {table!r} is of another version of eclip_mm: build it again with `eclip-mm '
            'index postgres`'
        ) from error
    return pa.schema(columns)


def sql_conditions(conditions: Sequence[Condition], schema: pa.Schema):
    """An expression of SQL, and the values of its places.

    Args:
        conditions: result of :func:`~eclip_mm.index.conditions.typed_conditions`.
        schema: the columns.
    """
    from psycopg import sql

    parts, values = [sql.SQL('true')], []
    for column, op, value in conditions:
        kind = schema.field(column).type
        is_list = pa.types.is_list(kind)
        form = (_LIST_FORMS if is_list else _FORMS).get(op, f'{{}} {op} %s')
        if op[0] in '<>' and (is_list or pa.types.is_string(kind)):
            form = form.replace('%s', f'%s::text{_ORDER}')
        parts.append(sql.SQL(form).format(in_query(column)))
        values.append(value)
    return sql.SQL(' AND ').join(parts), values
