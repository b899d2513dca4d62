"""Sheets of Excel files as tables."""

from pathlib import Path
from zipfile import BadZipFile

from eclip_mm.datasets.converters.feed.rows import FeedTable
from eclip_mm.datasets.storage.schema import CatalogueError


def read_excel(path: Path, sheet: str | None = None) -> FeedTable:
    """A sheet whose first row that is not empty is the header.

    Args:
        path: ``.xlsx`` or ``.xlsm`` file.
        sheet: name of the sheet. Defaults to the first.

    Raises:
        CatalogueError: openpyxl is missing, or the file or the sheet cannot be read.
    """
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise CatalogueError(
            f"{path}: reading Excel files needs openpyxl; run: pip install 'eclip_mm[feeds]', or "
            'save the sheet as CSV'
        ) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, KeyError) as error:
        raise CatalogueError(
            f'{path}: is not an Excel file ({error}); save it as .xlsx or as CSV'
        ) from error
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise CatalogueError(
                f'{path}: has no sheet {sheet!r}; it has {", ".join(map(repr, book.sheetnames))}'
            )
        pages = book.worksheets
        page = pages[0] if sheet is None else book[sheet]
        table = FeedTable(f'{path}, sheet {page.title!r}')
        header = None
        for number, cells in enumerate(page.iter_rows(values_only=True), 1):
            if all(cell is None for cell in cells):
                continue
            if header is None:
                header = ['' if cell is None else str(cell).strip() for cell in cells]
                table.columns = list(dict.fromkeys(filter(None, header)))
                continue
            named = {name: cell for name, cell in zip(header, cells, strict=False) if name}
            table.add(f'{path}, row {number}', named)
        return table
    finally:
        book.close()
