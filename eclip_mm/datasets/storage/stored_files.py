"""Files of a catalogue on any file system that ``fsspec`` knows."""

import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from fsspec import AbstractFileSystem
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from eclip_mm.datasets.storage.schema import CatalogueError

T = TypeVar('T')

# How often something is read that the file system does not deliver, and the seconds before the
# second try; the wait doubles before each further one.
MAX_TRIES = 4
FIRST_WAIT = 1.0
#: Errors that waiting does not help against: the file is gone, or forbidden, or no file.
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
            these; paths, or addresses of a file system that ``fsspec`` knows.
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
    if has_magic(path) and not (given.is_local and fs.exists(path)):
        found, problem = sorted(fs.glob(path)), 'no file matches the pattern'
    elif fs.isdir(path):
        found = sorted(p for p in fs.ls(path, detail=False) if p.endswith('.parquet'))
        problem = 'the folder holds no .parquet file'
    elif fs.exists(path):
        return [given]
    else:
        found, problem = [], 'there is no such catalogue'
    if not found:
        raise CatalogueError(
            f'{given}: {problem}; check the path, or make a catalogue with the programs in '
            'tools/dataset_converters'
        )
    return [StoredFile(_url_of(path, given), given.storage_options) for path in found]


def _url_of(path: str, given: StoredFile) -> str:
    """The address of a file that was found in a folder or by a pattern."""
    if given.is_local:
        by_folder = '://' not in given.url and Path(given.path).is_dir()
        return str(Path(given.url) / posixpath.basename(path)) if by_folder else path
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
