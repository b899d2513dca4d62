"""Opening the source of a feed, whose suffix says what it is."""

from pathlib import Path

from eclip_mm.datasets.converters.feed.excel import read_excel
from eclip_mm.datasets.converters.feed.rows import FeedTable
from eclip_mm.datasets.converters.feed.stored_tables import read_stored
from eclip_mm.datasets.converters.feed.text_tables import read_delimited, read_json, read_text
from eclip_mm.datasets.converters.feed.xml_tables import read_xml
from eclip_mm.datasets.storage.schema import CatalogueError

DELIMITERS = {'.csv': ',;\t|', '.tsv': '\t', '.tab': '\t', '.txt': '\t,;|'}
JSON_SUFFIXES = ('.json', '.jsonl', '.ndjson')
EXCEL_SUFFIXES = ('.xlsx', '.xlsm')
OTHER_SHEETS = ('.xls', '.xlsb', '.ods', '.numbers')
XML_SUFFIXES = ('.xml', '.rss', '.atom')
STORED_SUFFIXES = ('.parquet', '.arrow')


def read_table(
    source: str | Path,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
) -> FeedTable:
    """Read a CSV, TSV, Excel, JSON, XML, Parquet or Arrow file, or a folder of the last two.

    Text, JSON and XML may be compressed by gzip.

    Args:
        source: the file or folder.
        encoding: encoding of a text file. Defaults to that of its byte order mark or, in XML, its
            declaration, or else UTF-8.
        delimiter: delimiter of a CSV or TSV file. Defaults to the one that divides the header into
            most columns.
        sheet: sheet of an Excel file. Defaults to the first.

    Raises:
        CatalogueError: the source cannot be read or has no row; the message names file and line.
    """
    source = Path(source)
    try:
        table = _open(source, encoding, delimiter, sheet)
    except OSError as error:
        raise CatalogueError(f'{source}: cannot be read ({error})') from error
    if not table.rows:
        first = f'; the first problem: {table.problems[0]}' if table.problems else ''
        raise CatalogueError(f'{table.name}: has no row with a value{first}')
    return table


def _open(
    source: Path, encoding: str | None, delimiter: str | None, sheet: str | None
) -> FeedTable:
    if source.is_dir():
        files = sorted(path for path in source.rglob('*') if path.suffix in STORED_SUFFIXES)
        if not files:
            raise CatalogueError(
                f'{source}: has no {" or ".join(STORED_SUFFIXES)} file; name the exported file'
            )
        return read_stored(files, str(source))
    suffixes = [suffix.lower() for suffix in source.suffixes if suffix.lower() != '.gz']
    suffix = suffixes[-1] if suffixes else ''
    if suffix in DELIMITERS:
        text = read_text(source, encoding)
        return read_delimited(text, source, delimiter or DELIMITERS[suffix])
    if suffix in JSON_SUFFIXES:
        return read_json(read_text(source, encoding), source)
    if suffix in EXCEL_SUFFIXES:
        return read_excel(source, sheet)
    if suffix in XML_SUFFIXES:
        return read_xml(source, encoding)
    if suffix in STORED_SUFFIXES:
        return read_stored([source], str(source))
    if suffix in OTHER_SHEETS:
        raise CatalogueError(f'{source}: {suffix} files are not read; save it as .xlsx or as CSV')
    known = (*DELIMITERS, *JSON_SUFFIXES, *EXCEL_SUFFIXES, *XML_SUFFIXES, *STORED_SUFFIXES)
    raise CatalogueError(
        f'{source}: the suffix {suffix!r} is not one of a table; export it as one of '
        f'{", ".join(known)}'
    )
