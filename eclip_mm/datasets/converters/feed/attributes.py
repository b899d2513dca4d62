"""Columns of a feed as attributes of products: strings, numbers, bools and lists of strings."""

import re
from collections.abc import Iterable, Sequence

from eclip_mm.datasets.converters.feed.expand import OPTIONS
from eclip_mm.datasets.converters.feed.mapping import FeedMapping, picture_columns
from eclip_mm.datasets.converters.feed.rows import FeedRow, FeedTable, StoredPicture, as_text

_BOOLS = {'true': True, 'false': False}
# No leading zeros and at most 12 digits before the point: the rest are codes (GTIN, article).
_NUMBER = re.compile(r'-?(0|[1-9]\d{0,11})(\.\d+)?')
_PRICE = re.compile(rf'({_NUMBER.pattern}) ?([A-Z]{{3}})')
# Codes of which some look like numbers by chance.
_CODES = re.compile(
    r'(^|[ _])(id|sku|gtin|ean|upc|isbn|mpn|barcode|code|zip|phone)s?($|[ _\d])', re.I
)


class Attributes:
    """The attributes of products, with one type for each column.

    A column of strings that are all numbers becomes numbers, unless its name or a leading zero
    says that they are codes; ``19.90 EUR`` becomes a number if the currency is always the same,
    with the currency as an attribute of its own. Where the rows of a product differ, strings
    become a list, a number is the lowest and ``{name}_max`` the highest, and a bool is whether
    any is true.

    Args:
        table: the feed.
        mapping: says which columns become attributes.

    Attributes:
        kinds: {column: type}.
    """

    def __init__(self, table: FeedTable, mapping: FeedMapping) -> None:
        self.lists = mapping.lists
        self._currencies: dict[str, str] = {}
        self.kinds = {
            column: kind
            for column in chosen_columns(table, mapping)
            if (kind := self._kind(column, table.rows)) is not None
        }

    def _kind(self, column: str, rows: Sequence[FeedRow]) -> str | None:
        if column in self.lists:
            return 'list'
        kinds = {_kind_of(row.values[column]) for row in rows if column in row.values}
        if not kinds or None in kinds:  # no value, or pictures and nested data
            return None
        texts = [row.values[column] for row in rows if isinstance(row.values.get(column), str)]
        if kinds == {'text'}:
            if all(text.lower() in _BOOLS for text in texts):
                return 'bool'
            if not _CODES.search(column):
                if all(_NUMBER.fullmatch(text) for text in texts):
                    return 'number'
                prices = [_PRICE.fullmatch(text) for text in texts]
                if all(prices) and len({match[4] for match in prices}) == 1:
                    self._currencies[column] = prices[0][4]
                    return 'number'
        return kinds.pop() if len(kinds) == 1 else 'text'

    def of(self, rows: Sequence[FeedRow]) -> dict:
        """The attributes of a product.

        Args:
            rows: rows of the product.
        """
        found: dict = {}
        for column, kind in self.kinds.items():
            values = list(self._values(column, kind, rows))
            if not values:
                continue
            if kind == 'bool':
                found[column] = any(values)
            elif kind == 'number':
                found[column] = min(values)
                if max(values) > min(values):
                    found[f'{column}_max'] = max(values)
                if column in self._currencies:
                    found[f'{column}_currency'] = self._currencies[column]
            elif kind == 'list' or len(values) > 1:
                found[column] = values
            else:
                found[column] = values[0]
        return found

    def _values(self, column: str, kind: str, rows: Sequence[FeedRow]) -> Iterable:
        different: dict = {}
        for row in rows:
            value = row.values.get(column)
            if value is None:
                continue
            if kind == 'bool':
                different[value if isinstance(value, bool) else _BOOLS[value.lower()]] = None
            elif kind == 'number':
                different[
                    float(
                        value
                        if not isinstance(value, str)
                        else value.split()[0].removesuffix(self._currencies.get(column, ''))
                    )
                ] = None
            else:
                separator = self.lists.get(column)
                if isinstance(value, str) and separator:
                    value = [part.strip() for part in value.split(separator)]
                items = value if isinstance(value, list) else [value]
                different.update((text, None) for text in map(as_text, items) if text.strip())
        return different


def chosen_columns(table: FeedTable, mapping: FeedMapping) -> list[str]:
    """The columns that become attributes."""
    if mapping.attributes == 'none':
        return []
    if isinstance(mapping.attributes, list):
        return mapping.attributes
    used = {
        OPTIONS,
        *mapping.product_id,
        *mapping.category,
        *mapping.text_columns(),
        *mapping.leave_out,
    }
    for picture in mapping.pictures:
        if '{' not in picture.name:
            used.update(picture_columns(picture))
    return [column for column in table.columns if column not in used]


def _kind_of(value) -> str | None:
    if isinstance(value, bool):
        return 'bool'
    if isinstance(value, (int, float)):
        return 'number'
    if isinstance(value, str):
        return 'text'
    if isinstance(value, list) and not any(
        isinstance(item, (list, dict, StoredPicture)) for item in value
    ):
        return 'list'
    return None
