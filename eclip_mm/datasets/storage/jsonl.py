"""A JSON Lines file of a catalogue, read at random or from front to back."""

import gzip
import io
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO

import numpy as np

from eclip_mm.datasets.storage.file_kinds import HEAD_BYTES, check_json_lines
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.stored_files import StoredFile, persist_each
from eclip_mm.datasets.storage.tidy import tidy_row

# What is fetched at a time of a file on a remote file system.
BUFFER_BYTES = 2**20


class UnreadableLineError(ValueError):
    """A line is not JSON; ``kind`` is what lines with the same fault share, or None."""

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind


class JsonLinesFile:
    """A ``.jsonl`` file, which may be packed by gzip; a line is parsed when its row is asked for.

    In memory is only where each line begins; of a packed file that is read at random, all of it.

    Args:
        file: the file; it is local where rows are read at random.
    """

    def __init__(self, file: StoredFile) -> None:
        self.file = file
        self._starts = array('q')
        self._is_checked = False
        self._unpacked: bytes | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_unpacked': None}

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, bool]]:
        """The content of the file, and whether it is packed; closed after each use.

        A catalogue may have more files than a process may have open.
        """
        try:
            with self.file.open() as raw:
                if not self.file.is_local:  # fsspec's own search for line ends is slow
                    raw = io.BufferedReader(raw, BUFFER_BYTES)
                packed = raw.read(2) == b'\x1f\x8b'
                raw.seek(0)
                source = gzip.GzipFile(fileobj=raw) if packed else raw
                if not self._is_checked:
                    check_json_lines(source.read(HEAD_BYTES), self.file)
                    self._is_checked = True
                    source.seek(0)
                yield source, packed
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CatalogueError(
                f'{self.file}: the gzip file is damaged ({error}); pack it again'
            ) from error

    def _lines(self, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """(where it begins, line) of the lines from a byte on, read with several tries."""

        def read(done: int) -> Iterator[tuple[int, bytes]]:
            nonlocal offset
            with self._open() as (source, _):
                source.seek(offset)
                for line in source:
                    offset += len(line)
                    yield offset - len(line), line

        return persist_each(read)

    def scan(self) -> Iterator[tuple[int, int, dict | Exception]]:
        """Yield (row index, line number from 1, row or why it cannot be parsed)."""
        for number, (start, line) in enumerate(self._lines(), 1):
            if line.strip():
                self._starts.append(start)
                yield len(self._starts) - 1, number, _parse_or_error(line)

    def load(self, row: int, images: Sequence[int], boxes: bool = True) -> dict:
        """Parse one row, with the chosen images only."""
        if self._unpacked is not None:
            line = self._line(io.BytesIO(self._unpacked), row)
        else:
            with self._open() as (source, packed):
                if packed:
                    self._unpacked = source.read()
                    source = io.BytesIO(self._unpacked)
                line = self._line(source, row)
        parsed = _parse(line)
        parsed['images'] = [
            {k: v for k, v in parsed['images'][i].items() if boxes or k != 'boxes'} for i in images
        ]
        return parsed

    def _line(self, content: BinaryIO, row: int) -> bytes:
        content.seek(self._starts[row])
        return content.readline()

    def column(self, name: str, rows: np.ndarray) -> Iterator:
        """Yield one field of the given rows, which ascend where the file is not local."""
        if not self.file.is_local:
            wanted = set(rows.tolist())
            lines = (line for _, line in self._lines() if line.strip())
            yield from (_parse(line).get(name) for i, line in enumerate(lines) if i in wanted)
            return
        for row in rows:
            yield self.load(int(row), ()).get(name)

    def divide(self, num_lines: int) -> tuple[int, list[list[int]]]:
        """How many lines there are; where each part of ``num_lines`` begins and its rows.

        A part is found by the byte at which it begins; its rows are the lines that are not blank.
        """
        total, parts = 0, []
        for total, (begin, line) in enumerate(self._lines(), 1):
            if (total - 1) % num_lines == 0:
                parts.append([begin, 0])
            parts[-1][1] += bool(line.strip())
        return total, parts

    def read_spans(
        self, spans: Iterable[tuple[int, int]], start: int = 0, offset: int = 0
    ) -> Iterator[list[tuple[int, dict | Exception]]]:
        """Read rows from front to back; nothing is checked.

        Args:
            spans: first line and the one after the last of each span, from 0 and ascending.
            start: a line at or before the first span.
            offset: byte at which it begins.

        Yields:
            The rows of each span: number of the line from 1, and the row or the reason why it
            cannot be parsed. Blank lines are no rows, and there are none beyond the end.

        Raises:
            OSError: the file cannot be read.
        """
        lines = self._lines(offset)
        for first, stop in spans:
            for _ in islice(lines, first - start):
                pass
            found = enumerate(islice(lines, stop - first), first + 1)
            yield [(number, _parse_or_error(line)) for number, (_, line) in found if line.strip()]
            start = stop


def _parse(line: bytes) -> dict:
    return tidy_row(json.loads(line.decode('utf-8-sig')))


def _parse_or_error(line: bytes) -> dict | UnreadableLineError:
    try:
        return _parse(line)
    except UnicodeDecodeError as error:
        return UnreadableLineError(
            f'the line is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start}), perhaps '
            'Latin-1; convert the file: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT',
            kind='the line is not UTF-8',
        )
    except RecursionError:
        return UnreadableLineError('the line is nested too deeply; write a row as in the docs')
    except ValueError as error:
        return UnreadableLineError(f'the line is not JSON ({error}); write one JSON object a line')
