"""Files that are either complete or absent, even after ``kill -9``."""

import hashlib
import itertools
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

_calls = itertools.count()


def beside(path: Path, ending: str) -> Path:
    """A hidden name beside a file or folder, unique to this call: threads may write one file."""
    number = f'{os.getpid()}-{next(_calls)}'
    return path.with_name(f'.{path.name}.{platform.node()}.{number}.{ending}')


class whole_file:  # noqa: N801 (used as a function: ``with whole_file(path) as part``)
    """Write beside a file, then rename, so that nobody ever reads half of it.

    ``with whole_file(path) as part`` gives the path to write to. If the block ends without an
    error, the written file replaces ``path``; otherwise it is removed and ``path`` stays as it
    was. A writer that outlives a block calls :meth:`commit` or :meth:`discard` itself.

    Args:
        path: the file. Its folder must exist before something is written.

    Attributes:
        part: the path to write to. It is unique to this writer, since several
            processes or threads may write the same file at once.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.part = beside(self.path, 'part')

    def commit(self) -> None:
        """Replace the file by what was written."""
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Remove what was written, if anything was."""
        # NotADirectoryError: writing has failed for the same reason, which is the error to show
        with suppress(FileNotFoundError, NotADirectoryError):
            self.part.unlink()

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()


def write_whole_json(path: str | Path, content) -> None:
    """Write JSON that a person can read, completely or not at all."""
    write_whole_text(path, json.dumps(content, indent=1, ensure_ascii=False) + '\n')


def write_whole_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding='utf-8')


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
