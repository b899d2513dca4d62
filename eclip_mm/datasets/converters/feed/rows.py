"""Rows of a feed: cells by column, and where the row stands in the source."""

import datetime
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture that the source itself contains, read when it is needed.

    Attributes:
        key: place in the source; the same picture has the same key.
        read: returns the encoded picture.
    """

    key: tuple
    read: Callable[[], bytes] = field(compare=False)


@dataclass(slots=True)
class FeedRow:
    """A row of a feed.

    Attributes:
        place: file and line, for messages.
        values: cells that are not empty, by column: strings, numbers, bools, lists, mappings and
            :class:`StoredPicture`.
    """

    place: str
    values: dict


@dataclass
class FeedTable:
    """All rows of a feed.

    Attributes:
        name: the source, for messages.
        columns: names of the columns, in order.
        rows: rows with a value; they are in memory, without pictures.
        picture_columns: columns that contain the pictures themselves.
        class_columns: columns of `datasets` that were class numbers and are class names now.
        problems: rows that cannot be read, and why.
    """

    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[FeedRow] = field(default_factory=list)
    picture_columns: list[str] = field(default_factory=list)
    class_columns: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, place: str, values: Mapping) -> None:
        """Append a row, unless all of its cells are empty or one is nested too deeply."""
        try:
            cleaned = {column: clean_value(value) for column, value in values.items()}
        except RecursionError:
            self.problems.append(f'{place}: is nested too deeply')
            return
        cleaned = {column: value for column, value in cleaned.items() if value is not None}
        if cleaned:
            self.rows.append(FeedRow(place, cleaned))


def clean_value(value):
    """A cell without surrounding blanks, as a type of JSON; None if it is empty or NaN."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool) or isinstance(value, (int, StoredPicture)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [item for item in map(clean_value, value) if item is not None] or None
    if isinstance(value, Mapping):
        cleaned = {key: clean_value(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item is not None} or None
    return None if value is None else str(value)


def as_text(value) -> str:
    """A cell as words: a whole number without its decimals, a list joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ', '.join(map(as_text, value))
    if isinstance(value, Mapping):  # categories of WooCommerce: {id, name, slug}
        return as_text(value.get('name', ''))
    return str(value)
