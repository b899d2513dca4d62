"""Row groups of a Parquet catalogue on any file system, read one at a time."""

import posixpath
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from fsspec.core import has_magic, url_to_fs

from .parquet_check import UNREADABLE, broken_group, check_columns, leaf_names, without_boxes
from .schema import CatalogueError, validate_row


class ParquetGroups:
    """The row groups of a catalogue, counted over all its files.

    Only the files' own footers are read to know them. Files are not mapped to
    memory: resident memory does not grow with what has been read.

    Args:
        catalogue (str | Path | Sequence): A ``.parquet`` file, a folder of
            them, a pattern with ``*``, or several of these; paths, or URLs of
            a file system that ``fsspec`` knows (``s3://...``, ``gs://...``).
        storage_options (dict, optional): For the file system.

    Attributes:
        sizes (np.ndarray): Rows of every group.

    Raises:
        CatalogueError: There is no file, or one is not a Parquet catalogue.
    """

    # Parsed footers kept open in one process: about 8 kB of memory a row group.
    max_open_groups = 8_000

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
            sizes = list(pool.map(self._read_sizes, self._files))
        self.sizes = np.concatenate(sizes)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self._first_group = np.concatenate([[0], np.cumsum([len(s) for s in sizes])])

    def _forget(self) -> None:
        self._open: OrderedDict[int, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_open': None}

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

    def _parquet_file(self, file: tuple[str, str]) -> pq.ParquetFile:
        url, path = file
        fs, _ = url_to_fs(url, **self._options)  # one of this process, also after a fork
        return pq.ParquetFile(path, filesystem=fs, page_checksum_verification=True)

    def _read_sizes(self, file: tuple[str, str]) -> np.ndarray:
        try:
            with self._parquet_file(file) as opened:
                check_columns(opened.schema_arrow, file[1])
                metadata = opened.metadata
                count = range(metadata.num_row_groups)
                return np.array([metadata.row_group(i).num_rows for i in count], dtype=np.int64)
        except UNREADABLE as error:
            raise CatalogueError(
                f'{file[1]}: is not a readable Parquet file ({error}); write it again'
            ) from error

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
            group (int): The group.
            start (int): First row, counted within the group.
            stop (int): End of the rows.

        Raises:
            BrokenGroupError: The group cannot be read.
        """
        file, number = self._locate(group)
        path = self._files[file][1]
        in_file = self.first_row(group) - self.first_row(int(self._first_group[file]))
        first = in_file + start + 1
        try:
            opened = self._opened(file)
            table = opened.read_row_group(
                number, columns=without_boxes(leaf_names(opened)), use_threads=False
            )
            rows = table.slice(start, stop - start).to_pylist()
        except UNREADABLE as error:
            raise broken_group(path, number, in_file, int(self.sizes[group]), error) from error
        for i, row in enumerate(rows):
            try:
                validate_row(row, f'{path}, row {first + i}')
            except CatalogueError as error:
                rows[i] = error
        return rows

    def _opened(self, file: int) -> pq.ParquetFile:
        if file not in self._open:
            self._open[file] = self._parquet_file(self._files[file])
        self._open.move_to_end(file)
        while (
            len(self._open) > 1
            and sum(f.num_row_groups for f in self._open.values()) > self.max_open_groups
        ):
            self._open.popitem(last=False)[1].close()
        return self._open[file]

    def read_picture(self, group: int, path: str) -> bytes:
        """A picture that a row names by its path, relative to the row's file.

        Raises:
            OSError: It cannot be read.
        """
        url, parquet = self._files[self._locate(group)[0]]
        fs, _ = url_to_fs(url, **self._options)
        return fs.cat_file(posixpath.join(posixpath.dirname(parquet), path))
