"""A file of results that a long job appends to, so that an interrupted one goes on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


class Journal:
    """JSON Lines: a key, then one result a line, in their order.

    A line that was cut off by a kill is removed when the journal is opened again.

    Args:
        path: the file; its folder must exist.
        key: what the results depend on, name -> JSON value.

    Attributes:
        num_results: number of results that are there.

    Raises:
        ValueError: the file is a journal of another key, or no journal.
    """

    def __init__(self, path: str | Path, key: dict) -> None:
        self.path = Path(path)
        self.num_results = 0
        key = json.loads(json.dumps(key))  # tuples are lists in the file
        whole = 0
        if self.path.exists():
            with open(self.path, 'rb') as file:
                for number, line in enumerate(file):
                    if not line.endswith(b'\n'):
                        break
                    if number == 0:
                        self._check(line, key)
                    whole += len(line)
                    self.num_results = number
        self._file: IO[bytes] = open(self.path, 'r+b' if self.path.exists() else 'w+b')
        self._file.truncate(whole)
        self._file.seek(whole)
        if whole == 0:
            self._write(key)

    def _check(self, line: bytes, key: dict) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f'{self.path} is no journal of this command: move it away')
        for name in {**key, **found}:
            if found.get(name) != key.get(name):
                raise ValueError(
                    f'{self.path} is of an interrupted run with another {name} '
                    f'({_short(found.get(name))} there, {_short(key.get(name))} here): repeat '
                    'that run, give another file, or remove the journal'
                )

    def append(self, *results) -> None:
        """Add results; when this returns, the operating system has them."""
        for result in results:
            self._write(result)
        self.num_results += len(results)

    def _write(self, value) -> None:
        line = json.dumps(value, ensure_ascii=True).encode() + b'\n'
        self._file.write(line)
        self._file.flush()

    def __iter__(self) -> Iterator:
        """All results, read from the file one by one."""
        with open(self.path, 'rb') as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        os.remove(self.path)


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + '...'
