"""Files that are there whole or not at all, even after ``kill -9``."""

import os
import platform
from pathlib import Path


class whole_file:  # noqa: N801 (used as a function: ``with whole_file(path) as part``)
    """Write beside a file, then rename: nobody ever reads half of it.

    ``with whole_file(path) as part`` gives the name to write to. When the block ends without an
    error, the written file takes the place of ``path``; otherwise nothing is left behind. A writer
    that lives longer than a block calls :meth:`commit` or :meth:`discard` itself.

    Args:
        path: the file; its folder must exist when something is written.

    Attributes:
        part: where to write. Unique to this process of this machine, since several may
            write the same file at once.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f'.{self.path.name}.{platform.node()}.{os.getpid()}.part')

    def commit(self) -> None:
        """Give the written file its name."""
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Remove what was written, if anything was."""
        self.part.unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()


def write_whole_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding='utf-8')
