"""Which products a data set uses, by their category and attributes."""

import operator
from collections.abc import Mapping
from contextlib import suppress

from eclip_mm.datasets.storage.attributes import Attribute
from eclip_mm.utils.conditions import Conditions, parse_conditions

_COMPARE = {
    '=': operator.eq,
    '!=': operator.ne,
    '<': operator.lt,
    '<=': operator.le,
    '>': operator.gt,
    '>=': operator.ge,
}
_BOOLS = {'true': True, 'false': False}


class ProductFilter:
    """Conditions that all have to hold, on ``category`` and on attributes by their names.

    A missing value, or an empty list, meets no condition. A list meets one if an element does, and
    ``!=`` if all do. A value of another kind, such as a text compared with a number, only meets
    ``!=``.

    Args:
        name: class of the data set, for messages.
        where: such as ``'price<20'``, ``['brand=Acme,Nord', 'sale=true']`` or ``[('price', '<',
            20)]``; None for all products.

    Attributes:
        seen: names of all values that products had so far.

    Raises:
        ValueError: a condition is malformed.
    """

    def __init__(self, name: str, where: Conditions | None) -> None:
        try:
            self.conditions = parse_conditions(where)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: 'where': {error}") from error
        self.seen: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return ', '.join(f'{column} {op} {value}' for column, op, value in self.conditions)

    def keeps(self, category: str | None, attributes: Mapping[str, Attribute]) -> bool:
        """Whether a product meets all conditions."""
        values = dict(attributes, category=category)
        self.seen.update(name for name, value in values.items() if value is not None)
        return all(_meets(values.get(column), op, value) for column, op, value in self.conditions)

    def unseen(self) -> str:
        """A sentence on names that no product had so far; '' if there is none."""
        missing = [column for column, *_ in self.conditions if column not in self.seen]
        if not missing:
            return ''
        known = ', '.join(sorted(self.seen)) or 'none'
        return f'no product has the attribute {missing[0]!r}; there are {known}'


def _meets(value, op: str, wanted) -> bool:
    if value is None or value == []:
        return False
    if op in ('in', 'not in'):
        some = any(_meets(value, '=', one) for one in wanted)
        return some == (op == 'in')
    if isinstance(value, list):
        return (all if op == '!=' else any)(_meets(one, op, wanted) for one in value)
    wanted = _like(wanted, value)
    return op == '!=' if wanted is None else _COMPARE[op](value, wanted)


def _like(wanted, value):
    """What is asked for as the kind that a value is of; None if it is of another."""
    if isinstance(value, bool):
        return _BOOLS.get(str(wanted).lower())
    if isinstance(value, (int, float)):
        for kind in (int, float):  # float rounds whole numbers above 2^53
            with suppress(TypeError, ValueError):
                return wanted if isinstance(wanted, (int, float)) else kind(wanted)
        return None
    return wanted if isinstance(wanted, str) else None
