"""Conditions on the columns of an index, such as ``price<20``.

A list meets a condition if an element does, and ``!=`` and ``not in`` if all elements do.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eclip_mm.utils.conditions import Condition, Conditions, parse_conditions

_COMPARE = {
    '=': pc.equal,
    '!=': pc.not_equal,
    '<': pc.less,
    '<=': pc.less_equal,
    '>': pc.greater,
    '>=': pc.greater_equal,
}
#: comparisons that all elements of a list have to meet -> what none of them may meet then
OPPOSITES = {'!=': '=', 'not in': 'in'}


def typed_conditions(where: Conditions | None, schema: pa.Schema) -> list[Condition]:
    """Check conditions and give their values the types of the columns.

    Args:
        where: conditions that all have to hold, as tuples or as text.
        schema: the columns.

    Raises:
        ValueError: a column or comparison is unknown, or a value is not of the column's type.
    """
    typed = []
    for column, op, value in parse_conditions(where):
        kind = type_of_column(column, schema)
        kind = kind.value_type if pa.types.is_list(kind) else kind
        try:
            many = [_typed(v, kind) for v in (value if op in ('in', 'not in') else [value])]
        except (pa.ArrowException, TypeError) as error:
            raise ValueError(f'column {column!r} is {kind}, got {value!r}') from error
        typed.append((column, op, many if op in ('in', 'not in') else many[0]))
    return typed


def type_of_column(column: str, schema: pa.Schema) -> pa.DataType:
    """The type of a column.

    Raises:
        ValueError: the column is unknown.
    """
    if column not in schema.names:
        raise ValueError(f'column {column!r} is unknown; there are {", ".join(schema.names)}')
    return schema.field(column).type


def different_values(values) -> list:
    """The different values of a column, without null; of lists their elements."""
    if pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    return pc.unique(values).drop_null().to_pylist()


def rows_that_meet(conditions: Sequence[Condition], rows: pa.Table) -> pa.ChunkedArray | None:
    """A mask of rows; None without conditions. As in SQL, null meets no comparison."""
    mask = None
    for column, op, value in conditions:
        is_list = pa.types.is_list(rows[column].type)
        met = (_lists_that_meet if is_list else _values_that_meet)(rows[column], op, value)
        mask = met if mask is None else pc.and_(mask, met)
    return mask


def _values_that_meet(values, op: str, wanted):
    if op in _COMPARE:
        met = _COMPARE[op](values, pa.scalar(wanted, values.type))
    else:
        met = pc.is_in(values, pa.array(wanted, values.type))
        met = pc.and_(pc.invert(met) if op == 'not in' else met, pc.is_valid(values))
    return pc.fill_null(met, False)


def _lists_that_meet(column: pa.ChunkedArray, op: str, wanted) -> pa.ChunkedArray:
    lists = column.combine_chunks()
    met = _values_that_meet(lists.flatten(), OPPOSITES.get(op, op), wanted)
    some = np.zeros(len(lists), dtype=bool)
    some[pc.list_parent_indices(lists).filter(met).to_numpy()] = True
    if op in OPPOSITES:
        some = ~some & (pc.fill_null(pc.list_value_length(lists), 0).to_numpy() > 0)
    return pa.chunked_array([some])


def _typed(value, kind: pa.DataType):
    if value is None:
        raise TypeError('null meets no comparison')
    return pa.scalar(value).cast(kind).as_py()
