"""A JSON Lines file of a catalogue, read at random or from front to back."""

import io
import json
import mmap
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from eclip_mm.datasets.storage.schema import set_fields
from eclip_mm.datasets.storage.stored_files import StoredFile, persist_each

# What is fetched at a time of a file on a remote file system.
BUFFER_BYTES = 2**20


class JsonLinesFile:
    """A ``.jsonl`` file; a line is parsed when its row is asked for.

    In memory is only where each line begins.

    Args:
        file: the file; it is local where rows are read at random.
    """

    def __init__(self, file: StoredFile) -> None:
        self.file = file
        self._starts = array('q')
        self._map = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_map': None}

    def _lines(self, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """(where it begins, line) of the lines from a byte on, read with several tries."""

        def read(done: int) -> Iterator[tuple[int, bytes]]:
            nonlocal offset
            with self.file.open() as source:
                source.seek(offset)
                if not self.file.is_local:  # fsspec's own search for line ends is slow
                    source = io.BufferedReader(source, BUFFER_BYTES)
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
        if self._map is None:
            with self.file.open() as source:
                self._map = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        start = self._starts[row]
        end = self._map.find(b'\n', start)
        parsed = _parse(self._map[start : end if end >= 0 else len(self._map)])
        parsed['images'] = [set_fields(parsed['images'][i], boxes) for i in images]
        return parsed

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
    return json.loads(line.decode('utf-8-sig'))


def _parse_or_error(line: bytes) -> dict | Exception:
    try:
        return _parse(line)
    except ValueError as error:
        hint = (
            '; the file looks like one JSON array: write one object a line'
            if line.lstrip()[:1] == b'['
            else '; write one JSON object a line'
        )
        return ValueError(f'the line is not JSON ({error}){hint}')
