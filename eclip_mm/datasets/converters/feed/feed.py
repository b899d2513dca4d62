"""A feed: a table with the mapping of its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.converters.feed.mapping import ROW_NUMBER
from eclip_mm.datasets.converters.feed.pictures import named_pictures, picture_url
from eclip_mm.datasets.converters.feed.rows import FeedRow, as_text
from eclip_mm.datasets.converters.feed.shops import (
    SHOP_NAMES,
    SHOPS,
    guess_mapping,
    guess_shop,
    undo_peculiarities,
)
from eclip_mm.datasets.converters.feed.tables import read_table
from eclip_mm.datasets.storage.report import list_problems
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.transforms.clean_text import TextReport


@dataclass
class FeedReport:
    """What became of a feed.

    Attributes:
        num_rows: rows of the feed.
        num_products, num_pictures: products and pictures that were written.
        num_left_out: products without a text or a usable picture, which were left out.
        problems: each row, product and picture that was left out, with its place and the reason.
        warnings: what may be wrong although it was used.
        texts: texts cleaned, and products left out because theirs has no word.
    """

    num_rows: int = 0
    num_products: int = 0
    num_pictures: int = 0
    num_left_out: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    texts: TextReport = field(default_factory=TextReport)

    def __str__(self) -> str:
        text = (
            f'{self.num_products} products with {self.num_pictures} pictures from '
            f'{self.num_rows} rows; {self.num_left_out} products left out'
        )
        return text + list_problems([*self.warnings, *self.problems]) + str(self.texts)


class Feed:
    """A table with the mapping of its columns.

    Args:
        source: the file or folder; see :func:`~eclip_mm.datasets.converters.feed.read_table`.
        shop: name of the shop system, ``none`` for other tables; guessed by default.
        settings: fields of :class:`FeedMapping` that replace the guessed ones.
        encoding, delimiter, sheet: as for ``read_table``.

    Attributes:
        source: the source.
        table: its rows, without the peculiarities of the shop system.
        mapping: the mapping.

    Raises:
        CatalogueError: the source cannot be read, or no mapping fits it.
    """

    def __init__(
        self,
        source: str | Path,
        shop: str | None = None,
        settings: Mapping | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
        sheet: str | None = None,
    ) -> None:
        settings = dict(settings or {})
        shop = shop or settings.pop('shop', None)
        if shop not in (None, 'none', *SHOP_NAMES):
            raise CatalogueError(
                f'no shop system is called {shop!r}; use one of {", ".join(SHOP_NAMES)}, none'
            )
        self.source = Path(source)
        self.table = read_table(source, encoding, delimiter, sheet)
        shop = guess_shop(self.table) if shop is None else shop
        if shop in SHOPS:
            undo_peculiarities(self.table, shop)
        self.mapping = guess_mapping(self.table, None if shop == 'none' else shop)
        for name, value in settings.items():
            setattr(self.mapping, name, value)
        self.mapping.check(self.table.columns, self.table.name)

    def products(self, report: FeedReport) -> dict[str, list[FeedRow]]:
        """The rows of each product, in the order of their first rows.

        Args:
            report: rows without an id are named in it.
        """
        found: dict[str, list[FeedRow]] = {}
        report.num_rows += len(self.table.rows) + len(self.table.problems)
        report.problems += self.table.problems
        columns, numbers = self.mapping.product_id, []
        for number, row in enumerate(self.table.rows, 1):
            column = next((c for c in columns if c in row.values), None)
            if ROW_NUMBER in columns and column is None:
                found[f'row-{number}'] = [row]
            elif column is None:
                report.problems.append(f'{row.place}: has no {" or ".join(columns)}')
            else:
                value = row.values[column]
                if isinstance(value, (int, float)):
                    numbers.append((column, row.place, as_text(value)))
                found.setdefault(as_text(value), []).append(row)
        if numbers:
            column, place, value = numbers[0]
            report.warnings.append(
                f'{place}: the id {column!r} is the number {value} (so are {len(numbers)} ids): '
                'if it had leading zeros, the program that wrote the file has dropped them; '
                'export the column as text'
            )
        return found

    def picture_urls(self) -> list[str]:
        """The URLs of all pictures, each once."""
        urls: dict[str, None] = {}
        for rows in self.products(FeedReport()).values():
            for _, value, _ in named_pictures(rows, self.mapping.pictures):
                url = picture_url(value)
                if url is not None:
                    urls[url] = None
        return list(urls)
