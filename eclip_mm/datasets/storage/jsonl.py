"""A JSON Lines catalogue, opened for random access to rows."""

import json
import mmap
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np


class JsonLinesFile:
    """A ``.jsonl`` file; a line is parsed when its row is asked for.

    In memory is only where each line begins.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.absolute().parent
        self._starts = array('q')
        self._map = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_map': None}

    def scan(self) -> Iterator[tuple[int, int, dict | Exception]]:
        """Yield (row index, line number from 1, row or why it cannot be parsed)."""
        with open(self.path, 'rb') as file:
            start = 0
            for number, line in enumerate(file, 1):
                if line.strip():
                    self._starts.append(start)
                    yield len(self._starts) - 1, number, self._parse_or_error(line)
                start += len(line)

    @staticmethod
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

    def load(self, row: int, images: Sequence[int], boxes: bool = True) -> dict:
        """Parse one row, with the chosen images only."""
        if self._map is None:
            with open(self.path, 'rb') as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = self._starts[row]
        end = self._map.find(b'\n', start)
        parsed = _parse(self._map[start : end if end >= 0 else len(self._map)])
        parsed['images'] = [
            {
                key: value
                for key, value in parsed['images'][i].items()
                if value is not None and (boxes or key != 'boxes')
            }
            for i in images
        ]
        return parsed

    def column(self, name: str, rows: np.ndarray) -> Iterator:
        """Yield one field of the given rows."""
        for row in rows:
            yield self.load(int(row), ()).get(name)


def _parse(line: bytes) -> dict:
    return json.loads(line.decode('utf-8-sig'))
