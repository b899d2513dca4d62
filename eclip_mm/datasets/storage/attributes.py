"""The attributes of a product: what a shop knows of it beside text and category."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real

from eclip_mm.datasets.storage.words import is_unicode

Attribute = str | float | bool | list[str]


def read_attributes(stored) -> dict[str, Attribute]:
    """The attributes of a row as a dict.

    Args:
        stored: what a carrier has: a mapping in JSON Lines; JSON text in our own Parquet; a struct
            or a map in that of other programs, which may have nulls; or None.

    Raises:
        ValueError: it is none of these, or a value is no attribute.
    """
    if stored is None:
        return {}
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{stored[:60]!r} is not JSON ({error})') from error
    if isinstance(stored, list) and all(isinstance(p, tuple) and len(p) == 2 for p in stored):
        stored = dict(stored)  # a map of Arrow
    if not isinstance(stored, Mapping):
        raise ValueError(f'{stored!r:.60} is not an object')
    found = {
        name: value if isinstance(value, (int, float)) else _plain(value)
        for name, value in stored.items()
        if value is not None
    }
    for name, value in found.items():
        if not _is_text(name) or not name.strip():
            raise ValueError(f'{name!r} is not the name of an attribute')
        if not _is_attribute(value):
            raise ValueError(
                f'{name!r} is {value!r:.60}, which is no string, number, bool or list of strings'
            )
    return found


def write_attributes(attributes: Mapping[str, Attribute]) -> str:
    """JSON text of attributes, for a string column."""
    return json.dumps(attributes, ensure_ascii=False)


def _plain(value):
    """A number of numpy or a decimal as a float; as an int if only that is exact."""
    if isinstance(value, (Real, Decimal)):
        whole = math.isfinite(value) and value == int(value)
        return int(value) if whole and int(value) != float(value) else float(value)
    return value


def _is_attribute(value) -> bool:
    if isinstance(value, list):
        return all(map(_is_text, value))
    if isinstance(value, Real):  # bools are
        return math.isfinite(value)
    return _is_text(value)


def _is_text(value) -> bool:
    return isinstance(value, str) and is_unicode(value)
