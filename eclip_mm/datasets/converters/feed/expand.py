"""Peculiarities of the exports of shop systems, undone row by row.

Each function changes the columns of a table: those that are used up go, and what they imply comes.
"""

import re
from collections.abc import Mapping

from eclip_mm.datasets.converters.feed.rows import FeedTable, as_text

#: column with the values of all options of a row, such as its colour and its size
OPTIONS = 'options'
#: column with the id of the product that a row belongs to
PRODUCT = 'product'
_ABOUT_ATTRIBUTES = re.compile(r'attribute \d+ (visible|global|default)', re.IGNORECASE)
# Shopify's option of a product without options
_NO_OPTION = ('Title', 'Default Title')


def expand_options(table: FeedTable) -> None:
    """Shopify: option names stand in the first row of a product only; each becomes a column."""
    named = _numbered(table.columns, r'option(\d+) name', r'option(\d+) value')
    handle = next((c for c in table.columns if c.lower() in ('handle', 'url handle')), None)
    names: dict[tuple, str] = {}
    added = {OPTIONS: None} if named else {}
    for row in table.rows:
        options = []
        for name_column, value_column in named:
            key = (row.values.get(handle), name_column)
            if name_column in row.values:
                names[key] = as_text(row.values.pop(name_column))
            name, value = names.get(key), row.values.pop(value_column, None)
            if value is None or (name, value) == _NO_OPTION:
                continue
            if name is not None:
                _append(row.values, _free(name, table), as_text(value))
                added[_free(name, table)] = None
            options.append(as_text(value))
        if options:
            row.values[OPTIONS] = options
    _replace(table, [column for pair in named for column in pair], added)


def expand_woo(table: FeedTable) -> None:
    """WooCommerce: a variation names its parent; attributes stand in numbered columns."""
    named = _numbered(table.columns, r'attribute (\d+) name', r'attribute (\d+) value\(s\)')
    of = {column.lower(): column for column in table.columns}
    id_column, sku, parent, categories = (of.get(k) for k in ('id', 'sku', 'parent', 'categories'))
    by_id = {}
    for row in table.rows:
        number = row.values.get(id_column)
        if number is not None:
            by_id[f'id:{as_text(number)}'] = as_text(row.values.get(sku, f'id:{as_text(number)}'))
    added = {PRODUCT: None, OPTIONS: None}
    for row in table.rows:
        values = row.values
        own = values.get(sku) or (
            f'id:{as_text(values[id_column])}' if id_column in values else ''
        )
        above = as_text(values.get(parent, '')).strip()
        product = by_id.get(above, above) or as_text(own)
        if product:
            values[PRODUCT] = product
        options = []
        for name_column, value_column in named:
            name, value = values.pop(name_column, None), values.pop(value_column, None)
            if name is not None and value is not None:
                name = _free(as_text(name), table)
                found = [part.strip() for part in re.split(r'(?<!\\),', as_text(value))]
                for part in found:
                    _append(values, name, part.replace('\\,', ','))
                added[name] = None
                options += values[name] if isinstance(values[name], list) else [values[name]]
        if options:
            values[OPTIONS] = options
        if isinstance(values.get(categories), str):
            values[categories] = _deepest(values[categories], '>')
        for column in (
            'Short description',
            'Description',
        ):  # the exporter writes \\n for line ends
            if isinstance(values.get(column), str):
                values[column] = values[column].replace('\\n', '\n')
    # what is said of the product comes before what is said of its variations
    table.rows.sort(key=lambda row: parent in row.values)
    rest = [c for c in table.columns if _ABOUT_ATTRIBUTES.fullmatch(c)]
    rest += [parent] if parent else []
    _replace(table, [column for pair in named for column in pair] + rest, added)


def expand_magento(table: FeedTable) -> None:
    """Magento: a configurable product lists its variations; attributes are packed in a cell."""
    added = {PRODUCT: None}
    parents = {}
    for row in table.rows:
        packed = row.values.pop('configurable_variations', None)
        for variation in as_text(packed).split('|') if packed else ():
            child = _unpack(variation).get('sku')
            if child and 'sku' in row.values:
                parents[child] = as_text(row.values['sku'])
    for row in table.rows:
        values = row.values
        if 'sku' in values:
            values[PRODUCT] = parents.get(as_text(values['sku']), as_text(values['sku']))
        for name, value in _unpack(as_text(values.pop('additional_attributes', ''))).items():
            name = _free(name, table)
            parts = [part.strip() for part in value.split('|') if part.strip()]
            if parts:
                values[name] = parts if len(parts) > 1 else parts[0]
                added[name] = None
        if isinstance(values.get('categories'), str):
            values['categories'] = _deepest(values['categories'], '/')
        for column in [c for c, value in values.items() if value == 'no_selection']:
            del values[column]  # Magento's word for no picture
    # what is said of the product comes before its variations and its translations
    table.rows.sort(
        key=lambda row: (
            'store_view_code' in row.values or as_text(row.values.get('sku', '')) in parents
        )
    )
    _replace(table, ['configurable_variations', 'additional_attributes'], added)


def _unpack(packed: str) -> dict[str, str]:
    """``a=1,b=x, y`` -> ``{'a': '1', 'b': 'x, y'}``, and the same with quoted values."""
    pairs = (pair.partition('=') for pair in re.split(r',(?=\w+=)', packed))
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}


def _numbered(columns, name_pattern: str, value_pattern: str) -> list[tuple[str, str]]:
    """Pairs of columns that end up with the same number."""
    found: list[Mapping] = []
    for pattern in (name_pattern, value_pattern):
        matches = ((re.fullmatch(pattern, c, re.IGNORECASE), c) for c in columns)
        found.append({match[1]: c for match, c in matches if match})
    return [(found[0][n], found[1][n]) for n in found[0] if n in found[1]]


def _free(name: str, table: FeedTable) -> str:
    """A column for an attribute that does not hide one of the table."""
    return f'{name} (option)' if name in table.columns else name


def _append(values: dict, column: str, value: str) -> None:
    known = values.get(column)
    if known is None:
        values[column] = value
    elif value not in (known if isinstance(known, list) else [known]):
        values[column] = [*(known if isinstance(known, list) else [known]), value]


def _deepest(categories: str, separator: str) -> str:
    """The most exact of several categories that are divided by commas."""
    return max(categories.split(','), key=lambda path: path.count(separator)).strip()


def _replace(table: FeedTable, used: list[str], added: Mapping[str, None]) -> None:
    kept = [column for column in table.columns if column not in used]
    table.columns = list(dict.fromkeys([*kept, *added]))
