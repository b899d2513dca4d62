"""Product feeds in XML, RSS 2.0 or Atom with Google's fields, as tables."""

import gzip
import zlib
from pathlib import Path
from xml.parsers import expat

from eclip_mm.datasets.converters.feed.rows import FeedTable
from eclip_mm.datasets.storage.schema import CatalogueError

_ITEMS = ('item', 'entry')  # of RSS and of Atom
_GOOGLE = 'base.google.com/'
_CHUNK = 2**16


def read_xml(path: Path, encoding: str | None = None) -> FeedTable:
    """The items of a feed. An element that an item has several times becomes a list.

    An element of Google's namespace counts before one of the same name without it. The text of an
    Atom entry is its description.

    Args:
        path: the file, which may be compressed by gzip.
        encoding: its encoding. Defaults to the one that it declares.

    Raises:
        CatalogueError: it is not XML, has no item, or has a document type, whose entities might
            expand without end or name other files; the message names the line.
    """
    with open(path, 'rb') as plain:
        is_packed = plain.read(2) == b'\x1f\x8b'
    items = _Items(path, encoding)
    try:
        with gzip.open(path) if is_packed else open(path, 'rb') as file:
            # in small parts until the document has begun: expat expands entities before it stops
            while data := file.read(_CHUNK if items.has_begun else 64):
                items.parser.Parse(data, False)
        items.parser.Parse(b'', True)
    except expat.ExpatError as error:
        raise CatalogueError(
            f'{path}, line {error.lineno}: is not XML ({expat.ErrorString(error.code)}); export '
            'the feed again'
        ) from error
    except CatalogueError:
        raise
    # ValueError: the encoding has characters of several bytes, other than UTF-8 and UTF-16
    except (EOFError, LookupError, ValueError, zlib.error) as error:
        raise CatalogueError(f'{path}: cannot be read ({error})') from error
    if not items.num_items:
        raise CatalogueError(
            f'{path}: has no <item> of RSS and no <entry> of Atom; export a product feed of '
            'Google, or a CSV table'
        )
    items.table.columns = list(items.columns)
    return items.table


class _Items:
    """What expat calls. The item that is being read, and no other, is kept as elements.

    Attributes:
        parser: gets the bytes of the file.
        table: the rows so far.
        columns: names of their columns, as keys.
        num_items: number of items.
        has_begun: whether the first element has been seen.
    """

    def __init__(self, path: Path, encoding: str | None) -> None:
        self.path = path
        self.table = FeedTable(str(path))
        self.columns: dict[str, None] = {}
        self.num_items = 0
        self.has_begun = False
        self._open: list[_Element] = []
        self._line = 0
        self.parser = expat.ParserCreate(encoding, namespace_separator=' ')
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.CharacterDataHandler = self._text
        self.parser.EndElementHandler = self._end

    def _refuse(self, name: str, *_) -> None:
        where = f'{self.path}, line {self.parser.CurrentLineNumber}'
        if name.lower() == 'html':
            raise CatalogueError(f'{where}: is an HTML page; download the feed itself')
        raise CatalogueError(
            f'{where}: has a document type (<!DOCTYPE ...>); remove it, no product feed needs one'
        )

    def _start(self, name: str, attributes: dict) -> None:
        self.has_begun = True
        namespace, _, name = name.rpartition(' ')
        if not self._open:
            if name not in _ITEMS:
                return
            self._line = self.parser.CurrentLineNumber
        self._open.append(_Element(name, _GOOGLE in namespace, attributes))

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)

    def _end(self, _) -> None:
        if not self._open:
            return
        element = self._open.pop()
        if self._open:
            self._open[-1].add(element)
            return
        self.num_items += 1
        values = element.values()
        for name in ('content', 'summary'):
            if name in values and 'description' not in values:
                values['description'] = values.pop(name)
        self.columns.update(dict.fromkeys(values))
        self.table.add(f'{self.path}, line {self._line}', values)


class _Element:
    def __init__(self, name: str, is_google: bool, attributes: dict) -> None:
        self.name, self.is_google, self.attributes = name, is_google, attributes
        self.text: list[str] = []
        self._plain: dict[str, list] = {}
        self._google: dict[str, list] = {}

    def add(self, child: '_Element') -> None:
        fields = self._google if child.is_google else self._plain
        value = child.value()
        fields.setdefault(child.name, []).append(value)
        if isinstance(value, str):
            self.text += [' ', value, ' ']

    def values(self) -> dict:
        fields = {**self._plain, **self._google}
        return {name: found if len(found) > 1 else found[0] for name, found in fields.items()}

    def value(self) -> str | dict | None:
        if self._google:  # such as the country and price of shipping
            return self.values()
        # elements of a description are HTML; a link of Atom is an attribute
        return ''.join(self.text).strip() or self.attributes.get('href')
