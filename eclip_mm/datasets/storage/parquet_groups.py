"""Row groups of a Parquet catalogue on any file system, read one at a time."""

import posixpath
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from eclip_mm.datasets.storage.parquet_check import (
    UNREADABLE,
    broken_group,
    check_columns,
    is_unreachable,
    leaf_names,
    without_boxes,
)
from eclip_mm.datasets.storage.schema import CatalogueError, validate_row

T = TypeVar('T')


class ParquetGroups:
    """The row groups of a catalogue, counted over all its files.

    Only the files' own footers are read to know them. Files are not mapped to
    memory, and open only while they are read: neither resident memory nor the
    number of open files grows with what has been read.

    Args:
        catalogue: A ``.parquet`` file, a folder of
            them, a pattern with ``*``, or several of these; paths, or URLs of
            a file system that ``fsspec`` knows (``s3://...``, ``gs://...``).
        storage_options: For the file system.

    Attributes:
        sizes: Rows of every group.
        num_bytes: Bytes of every group in memory.

    Raises:
        CatalogueError: There is no file, or one is not a Parquet catalogue.
    """

    # Row groups of the parsed footers that a process keeps, about 8 kB of memory each; those of
    # the file that is read are kept in any case.
    max_kept_groups = 8_000
    # How often something is read that the file system does not give, and the seconds before the
    # second time; twice as many before each further one.
    max_tries = 4
    first_wait = 1.0

    def __init__(
        self, catalogue: str | Path | Sequence[str | Path], storage_options: dict | None = None
    ) -> None:
        several = not isinstance(catalogue, (str, Path))
        self._options = storage_options or {}
        # (URL that names the file system, path in it)
        self._files = [
            (str(url), path)
            for url in (catalogue if several else [catalogue])
            for path in self._list(str(url))
        ]
        if not self._files:
            raise CatalogueError('no catalogue was given; give at least one path')
        self._forget()
        with ThreadPoolExecutor(8) as pool:  # a footer of a remote file is mostly waiting
            sizes, num_bytes = zip(*pool.map(self._read_sizes, self._files), strict=True)
        self.sizes = np.concatenate(sizes)
        self.num_bytes = np.concatenate(num_bytes)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self._first_group = np.concatenate([[0], np.cumsum([len(s) for s in sizes])])

    def _forget(self) -> None:
        self._footers: OrderedDict[int, pq.FileMetaData] = OrderedDict()
        # a stream reads ahead in a thread, and what stands in for faults in the main one
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_footers': None, '_lock': None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def _list(self, url: str) -> list[str]:
        fs, path = url_to_fs(url, **self._options)
        if has_magic(path):
            found = sorted(fs.glob(path))
        elif fs.isdir(path):
            found = sorted(fs.glob(f'{path.rstrip("/")}/*.parquet'))
        else:
            found = [path] if fs.exists(path) else []
        if not found:
            raise CatalogueError(
                f'{url}: there is no .parquet file; a stream reads Parquet only, '
                'tools/dataset_converters/jsonl_parquet.py converts JSON Lines'
            )
        return found

    @contextmanager
    def _open(
        self, file: tuple[str, str], footer: pq.FileMetaData | None = None
    ) -> Iterator[pq.ParquetFile]:
        """A file while it is read."""
        url, path = file
        fs, _ = url_to_fs(url, **self._options)  # one of this process, also after a fork
        options = dict(metadata=footer, page_checksum_verification=True)
        if isinstance(fs, LocalFileSystem):
            with pq.ParquetFile(path, filesystem=fs, **options) as opened:
                yield opened
            return
        # Arrow knows what it needs and asks for it at once; fsspec would read megabytes ahead
        with (
            fs.open(path, 'rb', cache_type='none') as source,
            pq.ParquetFile(source, pre_buffer=True, **options) as opened,
        ):
            yield opened

    def _read_sizes(self, file: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
        """Rows and bytes of every group of a file."""

        def read() -> pq.FileMetaData:
            with self._open(file) as opened:
                check_columns(opened.schema_arrow, file[1])
                return opened.metadata

        try:
            footer = self._persist(read)
        except UNREADABLE as error:
            if is_unreachable(error):
                raise CatalogueError(f'{file[1]}: cannot be read ({error})') from error
            raise CatalogueError(
                f'{file[1]}: is not a readable Parquet file ({error}); write it again'
            ) from error
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        return (
            np.array([group.num_rows for group in groups], dtype=np.int64),
            np.array([group.total_byte_size for group in groups], dtype=np.int64),
        )

    @property
    def checksum(self) -> str:
        """Of the names of all files and the sizes of their groups; folders do not count."""
        names = '/'.join(posixpath.basename(path) for _, path in self._files)
        return f'{zlib.crc32(self.sizes.tobytes(), zlib.crc32(names.encode())):08x}'

    def _locate(self, group: int) -> tuple[int, int]:
        """File of a group, and its number in the file."""
        file = int(np.searchsorted(self._first_group, group, side='right')) - 1
        return file, group - int(self._first_group[file])

    def first_row(self, group: int) -> int:
        """Rows of the catalogue before a group."""
        return int(self._starts[group])

    def path(self, group: int) -> str:
        """File of a group."""
        return self._files[self._locate(group)[0]][1]

    def read(self, group: int, start: int, stop: int) -> list[dict | CatalogueError]:
        """Rows of a group without their boxes; the fault of a row in its place.

        Args:
            group: The group.
            start: First row, counted within the group.
            stop: End of the rows.

        Raises:
            BrokenGroupError: The group cannot be read.
        """
        file, number = self._locate(group)
        path = self._files[file][1]
        in_file = self.first_row(group) - self.first_row(int(self._first_group[file]))
        first = in_file + start + 1
        try:
            table = self._persist(lambda: self._read_table(file, number))
            rows = table.slice(start, stop - start).to_pylist()
        except UNREADABLE as error:
            raise broken_group(path, number, in_file, int(self.sizes[group]), error) from error
        for i, row in enumerate(rows):
            try:
                validate_row(row, f'{path}, row {first + i}')
            except CatalogueError as error:
                rows[i] = error
        return rows

    def _persist(self, read: Callable[[], T]) -> T:
        """What ``read`` gives, tried again where the file system does not answer."""
        for attempt in range(1, self.max_tries + 1):
            try:
                return read()
            except UNREADABLE as error:
                for_good = isinstance(error, (FileNotFoundError, PermissionError))
                if attempt == self.max_tries or for_good or not is_unreachable(error):
                    raise
                time.sleep(self.first_wait * 2 ** (attempt - 1))

    def _read_table(self, file: int, group: int) -> pa.Table:
        """Group ``group`` of a file."""
        with self._lock:
            footer = self._footers.get(file)
        with self._open(self._files[file], footer) as opened:
            self._keep_footer(file, opened.metadata)
            return opened.read_row_group(
                group, columns=without_boxes(leaf_names(opened)), use_threads=False
            )

    def _keep_footer(self, file: int, footer: pq.FileMetaData) -> None:
        with self._lock:
            self._footers[file] = footer
            self._footers.move_to_end(file)
            while (
                len(self._footers) > 1
                and sum(f.num_row_groups for f in self._footers.values()) > self.max_kept_groups
            ):
                self._footers.popitem(last=False)

    def read_picture(self, group: int, path: str) -> bytes:
        """A picture that a row names by its path, relative to the row's file.

        Raises:
            OSError: It cannot be read.
        """
        url, parquet = self._files[self._locate(group)[0]]
        fs, _ = url_to_fs(url, **self._options)
        whole = posixpath.join(posixpath.dirname(parquet), path)
        return self._persist(lambda: fs.cat_file(whole))
