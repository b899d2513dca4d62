"""Values of a COCO file as tools write them: numbers as text, names as numbers, NaN for none."""

import math
import re
from collections.abc import Callable, Iterable
from numbers import Real

_WHOLE = re.compile(r'0|-?[1-9][0-9]{0,17}')


def as_id(value) -> int | str | None:
    """An id: a number if it is a whole one, also as text ('7', but not '007'), or a text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = as_text(value).strip()
        return int(text) if _WHOLE.fullmatch(text) else text or None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_reader(entries: Iterable) -> Callable[[object], int | str | None]:
    """The function that reads the ids of entries and what refers to them.

    It gives numbers if all ids of the entries are whole numbers, and texts otherwise, since
    evaluation sorts the ids.
    """
    found = [as_id(entry.get('id')) for entry in entries if isinstance(entry, dict)]
    if not any(isinstance(identity, str) for identity in found):
        return as_id

    def read(value) -> str | None:
        identity = as_id(value)
        return None if identity is None else str(identity)

    return read


def as_number(value) -> float | None:
    """A finite number, also as text; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (Real, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_size(value) -> int | None:
    """A positive number of pixels."""
    number = as_number(value)
    return round(number) if number is not None and number >= 1 else None


def as_box(value) -> list[float] | None:
    """Four finite numbers."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [as_number(v) for v in value]
    return None if None in numbers else numbers


def as_flag(value) -> bool:
    """Whether a flag is set, also as text."""
    if isinstance(value, str):
        return value.strip().lower() not in ('', '0', '0.0', 'false', 'no')
    return bool(value) and value == value


def as_name(value) -> str | None:
    """A text that is not blank, or a number as text."""
    if isinstance(value, Real) and not isinstance(value, bool) and as_number(value) is not None:
        value = str(value)
    return as_text(value) if isinstance(value, str) and value.strip() else None


def as_text(value: str) -> str:
    """The text with U+FFFD for half a surrogate pair, which no file can hold."""
    return value.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
