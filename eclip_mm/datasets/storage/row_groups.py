"""Row groups of Parquet files on any file system, read one at a time."""

import posixpath
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.column_types import to_catalogue_types
from eclip_mm.datasets.storage.file_kinds import describe_file
from eclip_mm.datasets.storage.parquet_check import (
    UNREADABLE,
    check_columns,
    leaf_names,
    without_boxes,
)
from eclip_mm.datasets.storage.parquet_rows import to_rows
from eclip_mm.datasets.storage.schema import BrokenGroupError, CatalogueError
from eclip_mm.datasets.storage.stored_files import (
    StoredFile,
    is_unreachable,
    persist,
    persist_each,
)
from eclip_mm.datasets.storage.tidy import tidy_row

# A selection among the stored columns ``images.list.element.bytes``, ...
Select = Callable[[list[str]], Iterable[str]]
# The files that readers of this process have mapped, the last used last: (reader, index) -> file.
_MAPPED: OrderedDict[tuple[object, int], pq.ParquetFile] = OrderedDict()


class RowGroupReader:
    """The row groups of Parquet files, counted over all the files.

    By default a file is open only while it is read and nothing but a bounded number of parsed
    footers is kept: neither resident memory nor the number of open files grows with what has been
    read. The two options trade memory for speed where rows are read at random. An instance may be
    pickled and used in forked workers; several threads may read where nothing is cached.

    Args:
        files: files in their order.
        memory_map: map local files to memory. A process keeps the last ``max_mapped`` open.
        cache_bytes: decoded row groups to keep, in bytes; one is kept in any case unless it is 0.

    Attributes:
        sizes: rows of every group.
        num_bytes: bytes of every group in memory.
        num_rows: rows of all files.

    Raises:
        CatalogueError: a file cannot be read, or is not a Parquet catalogue.
    """

    # Row groups of the parsed footers that a process keeps, about 8 kB of memory each; those of
    # the file that is read are kept in any case.
    max_kept_groups = 8_000
    # Each mapped file costs a file descriptor, of which a process often has 1,024.
    max_mapped = 64
    # Groups of remote files up to this size are fetched in one request; of larger ones, each
    # column is fetched in parts of `part_bytes` when they are read batch by batch.
    max_fetched_bytes = 64 * 2**20
    part_bytes = 4 * 2**20

    def __init__(
        self, files: Sequence[StoredFile], memory_map: bool = False, cache_bytes: int = 0
    ) -> None:
        self.files = list(files)
        self.memory_map = memory_map
        self.cache_bytes = cache_bytes
        self._forget()
        with ThreadPoolExecutor(8) as pool:  # a footer of a remote file is mostly waiting
            found = list(pool.map(self._read_sizes, range(len(files))))
        self.sizes, self.num_bytes = np.concatenate(found).T
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.num_rows = int(self._starts[-1])
        self._first_group = np.concatenate([[0], np.cumsum([len(sizes) for sizes in found])])

    def _forget(self) -> None:
        self._token = object()  # of this reader in _MAPPED
        self._footers: OrderedDict[int, pq.FileMetaData] = OrderedDict()
        self._cache: OrderedDict[tuple[int, bool], pa.Table] = OrderedDict()
        self._cached_bytes = 0
        # a stream reads ahead in a thread while the main one may read rows to replace faulty ones
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        own = ('_token', '_footers', '_cache', '_cached_bytes', '_lock')
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def _read_sizes(self, index: int) -> np.ndarray:
        """(G, 2) rows and bytes of every group of a file."""

        def read() -> pq.FileMetaData:
            with self._open(index) as opened:
                check_columns(opened, self.files[index])
                return opened.metadata

        try:
            footer = persist(read)
        except UNREADABLE as error:
            problem = f'is not a readable Parquet file ({error}); write it again'
            if is_unreachable(error):
                problem = f'cannot be read ({error})'
            elif content := describe_file(self.files[index], 'Parquet'):
                problem = f'is not a Parquet file, but {content}'
            raise CatalogueError(f'{self.files[index]}: {problem}') from error
        groups = map(footer.row_group, range(footer.num_row_groups))
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        return np.array(sizes, dtype=np.int64).reshape(-1, 2)

    @contextmanager
    def _open(self, index: int, whole_groups: bool = True) -> Iterator[pq.ParquetFile]:
        """A file while it is read.

        Args:
            index: place of the file in ``files``.
            whole_groups: fetch a group of a remote file in one request, and keep it meanwhile.
        """
        file = self.files[index]
        options = dict(page_checksum_verification=True)
        if file.is_local and self.memory_map:
            yield self._map(index, options)
            return
        with self._lock:
            options['metadata'] = self._footers.get(index)
        if not whole_groups:
            options['buffer_size'] = self.part_bytes
        with (
            # Arrow knows what it needs and asks for it at once; fsspec would read megabytes ahead
            nullcontext(file.path) if file.is_local else file.open(cache_type='none') as source,
            pq.ParquetFile(
                source, pre_buffer=whole_groups and not file.is_local, **options
            ) as opened,
        ):
            yield opened

    def _map(self, index: int, options: dict) -> pq.ParquetFile:
        key = (self._token, index)
        opened = _MAPPED.pop(key, None)
        if opened is None:
            path, footer = self.files[index].path, self._footers.get(index)
            opened = pq.ParquetFile(path, memory_map=True, metadata=footer, **options)
            self._keep_footer(index, opened.metadata)
        _MAPPED[key] = opened
        if len(_MAPPED) > self.max_mapped:
            # not closed: what was read of it may still be mapped, and is released with that
            _MAPPED.popitem(last=False)
        return opened

    def _keep_footer(self, index: int, footer: pq.FileMetaData) -> None:
        with self._lock:
            self._footers[index] = footer
            self._footers.move_to_end(index)
            while (
                len(self._footers) > 1
                and sum(f.num_row_groups for f in self._footers.values()) > self.max_kept_groups
            ):
                self._footers.popitem(last=False)

    @property
    def checksum(self) -> str:
        """Checksum of the names of all files, without folders, and of the sizes of groups."""
        names = '/'.join(posixpath.basename(file.path) for file in self.files)
        return f'{zlib.crc32(self.sizes.tobytes(), zlib.crc32(names.encode())):08x}'

    def group_of(self, rows: int | np.ndarray) -> np.integer | np.ndarray:
        """The groups that rows of the catalogue are in."""
        return np.searchsorted(self._starts, rows, side='right') - 1

    def first_row(self, group: int) -> int:
        """Number of rows of the catalogue before a group."""
        return int(self._starts[group])

    def _locate(self, group: int) -> tuple[int, int]:
        """Index of a group's file, and the group's number in the file."""
        index = int(np.searchsorted(self._first_group, group, side='right')) - 1
        return index, group - int(self._first_group[index])

    def file(self, group: int) -> StoredFile:
        """The file of a group."""
        return self.files[self._locate(group)[0]]

    def row_in_file(self, group: int) -> int:
        """Number of rows before a group in its file."""
        index, _ = self._locate(group)
        return self.first_row(group) - self.first_row(int(self._first_group[index]))

    def broken(self, group: int, error: Exception) -> BrokenGroupError:
        """The error that names a row group which cannot be read; ``error`` says why."""
        advice = 'write the file again'
        if is_unreachable(error):
            advice = 'check that the file is there and that the file system answers'
        index, number = self._locate(group)
        first = self.row_in_file(group)
        return BrokenGroupError(
            f'{self.files[index]}: row group {number}, rows {first + 1} to '
            f'{first + int(self.sizes[group])}, cannot be read ({error}); {advice}'
        )

    def footer(self, group: int) -> pq.RowGroupMetaData:
        """What the footer says of a group."""
        index, number = self._locate(group)
        with self._open(index) as opened:
            return opened.metadata.row_group(number)

    def read_columns(self, group: int, select: Select) -> pa.Table:
        """Some columns of a group, which are not kept.

        Args:
            group: number of the group.
            select: picks from the names of the stored columns.

        Raises:
            Exception: one of ``UNREADABLE``.
        """
        index, number = self._locate(group)

        def read() -> pa.Table:
            with self._open(index) as opened:
                self._keep_footer(index, opened.metadata)
                return self._read_group(opened, number, list(select(leaf_names(opened))))

        return self._complete(persist(read), index)

    def _read_group(self, opened: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
        # One thread: Arrow's pool does not survive a fork in the middle of work.
        try:
            return opened.read_row_group(number, columns=columns, use_threads=False)
        except pa.ArrowNotImplementedError as error:
            # Arrow cannot read more than 2 GiB of pictures at once, only batches of less.
            for num_rows in (256, 1):
                with suppress(pa.ArrowNotImplementedError):
                    parts = opened.iter_batches(num_rows, [number], columns, use_threads=False)
                    return pa.Table.from_batches(parts)
            raise error

    def _complete(self, table: pa.Table, index: int) -> pa.Table:
        """A table of a file in our types, with the category that the folder of the file names."""
        table = to_catalogue_types(table)
        category = self.files[index].partition_value('category')
        if category is not None and 'category' not in table.column_names:
            table = table.append_column('category', pa.repeat(category, table.num_rows))
        return table

    def read(self, group: int, boxes: bool = False) -> pa.Table:
        """A whole group.

        Args:
            group: number of the group.
            boxes: read the boxes as well.

        Raises:
            BrokenGroupError: the group cannot be read.
        """
        key = (group, boxes)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            table = self.read_columns(group, list if boxes else without_boxes)
        except UNREADABLE as error:
            raise self.broken(group, error) from error
        if self.cache_bytes:
            self._cache[key] = table
            self._cached_bytes += table.nbytes
            while len(self._cache) > 1 and self._cached_bytes > self.cache_bytes:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return table

    def read_rows(self, group: int, start: int, stop: int) -> list[dict | ValueError]:
        """Tidy rows of a group, counted within it, without their boxes.

        Returns:
            The rows; the reason in place of one whose text is not UTF-8.

        Raises:
            BrokenGroupError: the group cannot be read.
        """
        return [tidy_row(row) for row in to_rows(self.read(group).slice(start, stop - start))]

    def batches(self, group: int, num_rows: int) -> Iterator[pa.Table]:
        """A group from front to back, without boxes, a part of it in memory at a time.

        Other programs write row groups of up to a million rows.

        Args:
            group: number of the group.
            num_rows: rows of a batch, counted from the beginning of the group.

        Raises:
            Exception: one of ``UNREADABLE``, after the batches before the damage.
        """
        index, number = self._locate(group)
        whole = int(self.num_bytes[group]) <= self.max_fetched_bytes

        def read(done: int) -> Iterator[pa.Table]:
            with self._open(index, whole) as opened:
                self._keep_footer(index, opened.metadata)
                columns = without_boxes(leaf_names(opened))
                parts = opened.iter_batches(num_rows, [number], columns, use_threads=False)
                for part in islice(parts, done, None):
                    yield self._complete(pa.Table.from_batches([part]), index)

        return persist_each(read)
