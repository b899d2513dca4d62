"""CSV, TSV and JSON files as tables; each row knows its line."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from eclip_mm.datasets.converters.feed.rows import FeedTable
from eclip_mm.datasets.storage.schema import CatalogueError

# A longer cell is mostly a quote that is not closed, which makes one cell of the rest of the file.
_MAX_CELL = 2**23
_BYTE_ORDER_MARKS = {
    b'\xef\xbb\xbf': 'utf-8-sig',
    b'\xff\xfe': 'utf-16',
    b'\xfe\xff': 'utf-16',
}


def read_text(path: Path, encoding: str | None) -> str:
    """Content of a text file, which may be compressed by gzip.

    Args:
        path: the file.
        encoding: its encoding. Defaults to that of its byte order mark, or else UTF-8.

    Raises:
        CatalogueError: it is not of this encoding; the message names the line.
    """
    data = path.read_bytes()
    if data[:2] == b'\x1f\x8b':
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise CatalogueError(f'{path}: cannot be unpacked ({error})') from error
    if encoding is None:
        marks = (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark))
        encoding = next(marks, 'utf-8')
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise CatalogueError(f'{path}: no encoding is called {encoding!r}') from error
    except UnicodeError as error:
        line = data[: getattr(error, 'start', 0)].count(b'\n') + 1
        raise CatalogueError(
            f'{path}, line {line}: is not {encoding} ({error}); '
            'give the encoding that it was exported with, such as --encoding cp1252'
        ) from error


def read_delimited(text: str, path: Path, delimiters: str) -> FeedTable:
    """A CSV or TSV table. Every cell is a string: an id keeps its leading zeros.

    A column that the header names several times becomes a list of values.

    Args:
        text: content of the file.
        path: the file, for messages.
        delimiters: candidates; the one that divides the header into most columns is used.

    Raises:
        CatalogueError: there is no header, or a quote is not closed.
    """
    table = FeedTable(str(path))
    head = next((line for line in io.StringIO(text, newline='') if line.strip()), None)
    if head is None:
        raise CatalogueError(f'{path}: the file is empty; export it again, with a header line')
    delimiter = max(delimiters, key=lambda d: len(next(csv.reader([head], delimiter=d))))
    before = csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    line = 1
    try:
        header: list[str] | None = None
        for cells in reader:
            place = f'{path}, line {line}'
            line = reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                table.columns = list(dict.fromkeys(filter(None, header)))
            elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                table.problems.append(
                    f'{place}: has {len(cells)} cells, the header has {len(header)}; '
                    'quote cells that contain the delimiter or a line end'
                )
            else:
                table.add(place, _by_column(header, cells))
    except csv.Error as error:
        raise CatalogueError(
            f'{path}, row that begins in line {line}: {error}; close the quote, and write a quote '
            'inside a cell twice'
        ) from error
    finally:
        csv.field_size_limit(before)
    return table


def _by_column(header: list[str], cells: list[str]) -> dict:
    values: dict = {}
    for name, cell in zip(header, cells, strict=False):
        if not name or not cell.strip():
            continue
        if name in values:
            known = values[name]
            values[name] = [*(known if isinstance(known, list) else [known]), cell]
        else:
            values[name] = cell
    return values


def read_json(text: str, path: Path) -> FeedTable:
    """A JSON array of objects, an object that contains one, or an object a line.

    Raises:
        CatalogueError: it is none of these; the message names the line.
    """
    table = FeedTable(str(path))
    try:
        items = _one_document(text)
        places = [f'{path}, item {i}' for i in range(1, len(items) + 1)]
    except (json.JSONDecodeError, RecursionError) as error:
        items, places = [], []
        for number, line in enumerate(text.split('\n'), 1):
            if not line.strip():
                continue
            place = f'{path}, line {number}'
            try:
                items.append(json.loads(line))
            except RecursionError:
                table.problems.append(f'{place}: is nested too deeply')
                continue
            except json.JSONDecodeError as in_line:
                # not a file of lines: say where the document is wrong
                if not items and isinstance(error, json.JSONDecodeError):
                    raise CatalogueError(
                        f'{path}, line {error.lineno}: is not JSON ({error.msg})'
                    ) from error
                table.problems.append(f'{place}: is not JSON ({in_line.msg})')
                continue
            places.append(place)
    columns: dict = {}
    for place, item in zip(places, items, strict=True):
        if isinstance(item, Mapping):
            columns.update(dict.fromkeys(item))
            table.add(place, item)
        else:
            table.problems.append(f'{place}: is {type(item).__name__}, not an object')
    table.columns = list(columns)
    return table


def _one_document(text: str) -> list:
    found = json.loads(text)
    if isinstance(found, list):
        return found
    lists = [v for v in found.values() if isinstance(v, list)] if isinstance(found, dict) else []
    # {"products": [...]} of shops; an object with other lists is a single row
    if len(lists) == 1 and all(isinstance(item, dict) for item in lists[0]) and len(found) <= 3:
        return lists[0]
    return [found]
