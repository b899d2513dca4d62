"""Conditions such as ``price<20``, as text or as tuples."""

import re
from collections.abc import Iterable, Sequence

COMPARISONS = ('=', '!=', '<', '<=', '>', '>=')
#: column, comparison, value; the value of ``in`` and ``not in`` is a list
Condition = tuple[str, str, object]
Conditions = Sequence[Condition | str] | str


def parse_conditions(where: Conditions | None) -> list[Condition]:
    """Read conditions that all have to hold.

    Args:
        where: one text, or several texts and tuples.

    Raises:
        ValueError: one of them has no comparison, one that is unknown, or a value that does not
            fit it.
    """
    found = []
    for given in [where] if isinstance(where, str) else where or []:
        column, op, value = parse_condition(given) if isinstance(given, str) else given
        if op not in (*COMPARISONS, 'in', 'not in'):
            raise ValueError(
                f'comparison {op!r} is unknown; there are {", ".join(COMPARISONS)}, in, not in'
            )
        if op in ('in', 'not in') and (isinstance(value, str) or not isinstance(value, Iterable)):
            raise ValueError(f'{op!r} takes a list of values, got {value!r}')
        found.append((column, op, value))
    return found


def parse_condition(text: str) -> Condition:
    """Read ``COLUMN OP VALUE``; ``category=shoes,boots`` asks for one of several values.

    Raises:
        ValueError: it has no comparison.
    """
    match = re.fullmatch(r'\s*([^=!<>]+?)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*', text)
    if not match:
        raise ValueError(
            f'condition {text!r}: write COLUMN=VALUE, or one of {", ".join(COMPARISONS)}'
        )
    column, op, value = match.groups()
    if op in ('=', '!=') and ',' in value:
        return column, 'in' if op == '=' else 'not in', [v.strip() for v in value.split(',')]
    return column, op, value
