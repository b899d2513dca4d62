"""Finding the pictures that a feed names: paths, patterns, members of archives, fetched URLs."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import fsspec
from fsspec.implementations.dirfs import DirFileSystem

from eclip_mm.datasets.converters.feed.fetched import FetchedPictures
from eclip_mm.datasets.converters.feed.mapping import PictureColumn
from eclip_mm.datasets.converters.feed.rows import FeedRow, StoredPicture, as_text
from eclip_mm.datasets.converters.feed.texts import TextPart
from eclip_mm.datasets.storage.schema import CatalogueError

ARCHIVES = {'.zip': 'zip', '.tar': 'tar', '.tgz': 'tar', '.tar.gz': 'tar'}
_URL = ('http://', 'https://', '//')
# Keys of a picture that is an object: `datasets`, Shopify's and WooCommerce's JSON.
_KEYS = ('path', 'src', 'url', 'link', 'file')


class PictureNotFoundError(CatalogueError):
    """A feed names a picture that is not there."""


class PictureFinder:
    """Finds pictures by what a cell of a feed says.

    Args:
        roots: folders and archives (``.zip``, ``.tar``, ``.tar.gz``) that paths are relative to;
            the first that has a file counts.
        fetched: what ``fetch_pictures.py`` has written, or None.

    Raises:
        CatalogueError: a root does not exist, or is neither a folder nor an archive.
    """

    def __init__(self, roots: Sequence[str | Path], fetched: FetchedPictures | None) -> None:
        self._fetched = fetched
        self.roots = [(Path(root), _open_root(Path(root))) for root in roots]

    def find(self, value) -> list[StoredPicture | Path]:
        """The pictures of one entry.

        Args:
            value: path, pattern with ``*``, URL, picture in the source, or an object with one of
                these.

        Returns:
            A file of its own as a path, others as what can be read.

        Raises:
            PictureNotFoundError: nothing is there.
        """
        if isinstance(value, StoredPicture):
            return [value]
        value = _name_of(value)
        if value.startswith(_URL):
            return [self._fetched_file(value)]
        # as stored first: a name may contain brackets, backslashes or %20
        names = dict.fromkeys([value, value.replace('\\', '/'), unquote(value)])
        for name in names:
            for root, files in self.roots:
                relative = name.lstrip('/')
                if relative and files.isfile(relative):
                    return [self._found(root, files, relative)]
            if posixpath.isabs(name) and Path(name).is_file():
                return [Path(name)]
        if any(sign in value for sign in '*?['):
            for root, files in self.roots:
                found = sorted(f for f in files.glob(value.lstrip('/')) if files.isfile(f))
                if found:
                    return [self._found(root, files, name) for name in found]
        places = ', '.join(str(root) for root, _ in self.roots)
        raise PictureNotFoundError(f"there is no file '{value}' in {places}")

    def _fetched_file(self, url: str) -> Path:
        if self._fetched is None:
            raise PictureNotFoundError(
                f'{url} has not been fetched; run tools/dataset_converters/fetch_pictures.py first'
            )
        found = self._fetched.find(url)
        if isinstance(found, str):
            raise PictureNotFoundError(f'{url}: {found}')
        return found

    def _found(self, root: Path, files, name: str) -> StoredPicture | Path:
        if root.is_dir():
            return root / name
        return StoredPicture((str(root), name), lambda: files.cat_file(name))


def _open_root(root: Path):
    if root.is_dir():
        return DirFileSystem(str(root), fs=fsspec.filesystem('file'))
    kind = next((kind for end, kind in ARCHIVES.items() if root.name.lower().endswith(end)), None)
    if not root.is_file() or kind is None:
        raise CatalogueError(
            f'{root}: is no folder and no archive ({", ".join(ARCHIVES)}); name the one that the '
            'pictures are in'
        )
    try:
        return fsspec.filesystem(kind, fo=str(root))
    except Exception as error:  # what zipfile and tarfile raise for files that are not theirs
        raise CatalogueError(f'{root}: cannot be opened as an archive ({error})') from error


def picture_url(value) -> str | None:
    """The URL of an entry; None for other entries."""
    if isinstance(value, StoredPicture):
        return None
    name = _name_of(value)
    return name if name.startswith(_URL) else None


def _name_of(value) -> str:
    if isinstance(value, Mapping):
        value = next((value[key] for key in _KEYS if key in value), '')
    return as_text(value)


def named_pictures(
    rows: Sequence[FeedRow], columns: Sequence[PictureColumn]
) -> Iterator[tuple[str, object, str]]:
    """What the rows of a product say of its pictures.

    Args:
        rows: rows of the product.
        columns: where pictures are named.

    Yields:
        Place of the row, value for :meth:`PictureFinder.find`, source; each value once.
    """
    seen = set()
    for entry in columns:
        for row in rows:
            if '{' in entry.name:
                part = TextPart(entry.name)
                complete = all(column in row.values for column in part.columns)
                cell = _fill(part, row) if complete else None
            else:
                cell = row.values.get(entry.name)
            for value in _entries(cell, entry.separator):
                key = value if isinstance(value, (str, StoredPicture)) else repr(value)
                if key not in seen:
                    seen.add(key)
                    yield row.place, value, entry.source


def _fill(part: TextPart, row: FeedRow) -> str:
    return ''.join(
        words + ('' if name is None else as_text(row.values[name.rstrip('*')]))
        for words, name in part.pieces
    )


def _entries(cell, separator: str | None) -> list:
    if cell is None:
        return []
    if isinstance(cell, list):
        return [entry for item in cell for entry in _entries(item, separator)]
    if isinstance(cell, str) and separator is not None:
        # a comma inside of a URL or path is not followed by the beginning of another one
        starts = next((start for start in ('https?://', '/') if re.match(start, cell)), None)
        another = '' if starts is None else rf'\s*(?={starts})'
        parts = re.split(re.escape(separator) + another, cell)
        return [part for part in map(str.strip, parts) if part]
    return [cell]
