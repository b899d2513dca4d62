"""Files of a catalogue on any file system that ``fsspec`` knows."""

import glob
import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import unquote

from fsspec import AbstractFileSystem
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from eclip_mm.datasets.storage.path_hints import path_hint
from eclip_mm.datasets.storage.schema import CatalogueError

T = TypeVar('T')

# How often something is read that the file system does not deliver, and the seconds before the
# second try; the wait doubles before each further one.
MAX_TRIES = 4
FIRST_WAIT = 1.0
#: Errors that waiting does not help against: the file is gone, forbidden or no file.
GONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class StoredFile:
    """A file that is named by a path, or by an address such as ``s3://bucket/a.parquet``.

    Args:
        url: path or address.
        storage_options: passed to the file system.

    Attributes:
        url: path or address as given; messages and tables name the file by it.
        path: what the file system calls it; absolute for a local file.
        is_local: whether it can be opened without ``fsspec``.
    """

    def __init__(self, url: str | Path, storage_options: dict | None = None) -> None:
        self.url = str(url)
        self.storage_options = storage_options or {}
        if '://' in self.url:
            fs, self.path = url_to_fs(self.url, **self.storage_options)
            self.is_local = isinstance(fs, LocalFileSystem)
        else:  # a path may hold what fsspec takes for a part of an address
            self.url, self.is_local = str(Path(url)), True
            self.path = str(Path(url).expanduser().absolute())

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system; fsspec gives each process its own, also after a fork."""
        if self.is_local:
            return LocalFileSystem()
        return url_to_fs(self.url, **self.storage_options)[0]

    def __str__(self) -> str:
        return self.url

    def open(self, **options) -> BinaryIO:
        """Open the file for reading; ``options`` are of a remote file system's ``open``."""
        return open(self.path, 'rb') if self.is_local else self.fs.open(self.path, 'rb', **options)

    def partition_value(self, key: str) -> str | None:
        """``red mugs`` for the key ``category`` of ``.../category=red%20mugs/a.parquet``.

        Hive and Spark name folders by the value of a column, which the files then lack.
        """
        for part in reversed(posixpath.dirname(self.path).split('/')):
            if part.startswith(f'{key}='):
                value = unquote(part.removeprefix(f'{key}='))
                return None if value == '__HIVE_DEFAULT_PARTITION__' else value
        return None

    def num_bytes(self) -> int:
        """Size of the file."""
        return persist(lambda: self.fs.size(self.path))

    def beside(self, path: str) -> str:
        """What the file system calls a file that is named relative to this one."""
        folder = posixpath.dirname(self.path)
        if self.is_local:
            return str(Path(folder) / path)
        if path.startswith('/'):
            return path
        for part in Path(path).parts:  # object stores do not know '..'
            folder = posixpath.dirname(folder) if part == '..' else f'{folder}/{part}'
        return folder

    def hint(self, path: str) -> str:
        """Why :meth:`beside` finds no file, and which one was probably meant; may be empty."""
        return path_hint(path, posixpath.dirname(self.path) if self.is_local else None)

    def read_beside(self, path: str) -> bytes:
        """The content of a file that is named relative to this one.

        Raises:
            OSError: it cannot be read.
        """
        return persist(lambda: self.fs.cat_file(self.beside(path)))


def find_files(
    catalogue: str | Path | Sequence[str | Path], storage_options: dict | None = None
) -> list[StoredFile]:
    """The files of a catalogue in their order.

    Args:
        catalogue: a file, a folder of ``.parquet`` files, a pattern with ``*``, or several of
            these; paths, or addresses of a file system that ``fsspec`` knows. A folder may also
            hold folders such as ``category=mugs``, as Hive and Spark write them. Files and folders
            whose name begins with ``.`` or ``_`` are left out, as Spark does.
        storage_options: passed to the file system.

    Raises:
        CatalogueError: no catalogue is given, or there is no such file.
    """
    given = [catalogue] if isinstance(catalogue, (str, Path)) else catalogue
    files = [file for url in given for file in _find(StoredFile(url, storage_options))]
    if not files:
        raise CatalogueError('no catalogue was given; give at least one path')
    return files


def _find(given: StoredFile) -> list[StoredFile]:
    fs, path = given.fs, given.path
    if has_magic(path) and not fs.exists(path):
        found = _match(fs, path)
        problem = 'no file matches the pattern'
    elif fs.isdir(path):
        found, folders = _list_folder(fs, path)
        problem = 'the folder holds no .parquet file'
        if folders:
            shown = ', '.join(posixpath.basename(folder) for folder in folders[:3])
            problem += f', but folders ({shown}); name one, or all of them: {given}/*/*.parquet'
    elif fs.exists(path):
        return [given]
    else:
        found, problem = [], 'there is no such catalogue'
    if not found:
        raise CatalogueError(
            f'{given}: {problem}; check the path, or make a catalogue with the programs in '
            'tools/dataset_converters'
        )
    return [StoredFile(_url_of(path, given), given.storage_options) for path in sorted(found)]


def _list_folder(fs: AbstractFileSystem, path: str) -> tuple[list[str], list[str]]:
    """The ``.parquet`` files of a folder, also in its partitions; its other folders."""
    found, folders = [], []
    for entry in sorted(fs.ls(path, detail=True), key=lambda entry: entry['name']):
        name = entry['name'].rstrip('/')
        base = posixpath.basename(name)
        if _is_hidden(base) or name == path.rstrip('/'):
            continue
        if entry['type'] != 'directory':
            found += [name] if base.endswith('.parquet') else []
        elif '=' in base:
            found += _list_folder(fs, name)[0]
        else:
            folders.append(name)
    return found, folders


def _match(fs: AbstractFileSystem, pattern: str) -> list[str]:
    """The files that match a pattern; folders that exist under their literal name are literal."""
    done, *parts = pattern.split('/')
    folder = done
    while parts and fs.isdir(f'{folder}/{parts[0]}'):  # also with `[` and `]` in its name
        folder, done = f'{folder}/{parts[0]}', f'{done}/{glob.escape(parts[0])}'
        del parts[0]
    found = fs.glob('/'.join([done, *parts]))
    if any(map(_is_hidden, parts)):  # asked for
        return found
    depth = len(folder.split('/'))
    return [path for path in found if not any(map(_is_hidden, path.split('/')[depth:]))]


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the catalogue's: ``._a.parquet``, ``_temporary``, ..."""
    return name.startswith(('.', '_'))


def _url_of(path: str, given: StoredFile) -> str:
    """The address of a file that was found in a folder or by a pattern."""
    if given.is_local:
        by_folder = '://' not in given.url and Path(given.path).is_dir()
        return str(Path(given.url) / posixpath.relpath(path, given.path)) if by_folder else path
    parts = given.url.split('::')  # addresses may be chained: 'simplecache::s3://...'
    at = next(i for i, part in enumerate(parts) if '://' in part)
    return '::'.join([*parts[:at], given.fs.unstrip_protocol(path), *parts[at + 1 :]])


def is_unreachable(error: Exception) -> bool:
    """Whether the way to a file is at fault and not its content: reading again may help.

    An error of the system has a number; Arrow reports damaged content as an ``OSError`` without
    one.
    """
    return isinstance(error, OSError) and (
        error.errno is not None or isinstance(error, (TimeoutError, ConnectionError))
    )


def persist(read: Callable[[], T]) -> T:
    """What ``read`` returns, tried again while the file system does not answer."""
    return next(persist_each(lambda done: iter([read()])))


def persist_each(start: Callable[[int], Iterator[T]]) -> Iterator[T]:
    """What ``start(0)`` yields; where the file system fails after n items, ``start(n)`` continues.

    Args:
        start: yields what is read, without its first so many items.
    """
    done = tries = 0
    while True:
        try:
            for item in start(done):
                done, tries = done + 1, 0
                yield item
            return
        except OSError as error:
            tries += 1
            if tries == MAX_TRIES or isinstance(error, GONE) or not is_unreachable(error):
                raise
            time.sleep(FIRST_WAIT * 2 ** (tries - 1))
