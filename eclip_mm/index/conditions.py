"""Conditions on the columns of an index, such as ``price<20``."""

from collections.abc import Sequence

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
        if column not in schema.names:
            raise ValueError(f'column {column!r} is unknown; there are {", ".join(schema.names)}')
        kind = schema.field(column).type
        try:
            many = [_typed(v, kind) for v in (value if op in ('in', 'not in') else [value])]
        except (pa.ArrowException, TypeError) as error:
            raise ValueError(f'column {column!r} is {kind}, got {value!r}') from error
        typed.append((column, op, many if op in ('in', 'not in') else many[0]))
    return typed


def rows_that_meet(conditions: Sequence[Condition], rows: pa.Table) -> pa.ChunkedArray | None:
    """A mask of rows; None without conditions. As in SQL, null meets no comparison."""
    mask = None
    for column, op, value in conditions:
        values = rows[column]
        if op in _COMPARE:
            met = _COMPARE[op](values, pa.scalar(value, values.type))
        else:
            met = pc.is_in(values, pa.array(value, values.type))
            met = pc.and_(pc.invert(met) if op == 'not in' else met, pc.is_valid(values))
        met = pc.fill_null(met, False)
        mask = met if mask is None else pc.and_(mask, met)
    return mask


def _typed(value, kind: pa.DataType):
    if value is None:
        raise TypeError('null meets no comparison')
    return pa.scalar(value).cast(kind).as_py()
