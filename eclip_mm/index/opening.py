"""An index by its address, whatever its kind."""

from pathlib import Path
from urllib.parse import unquote

from eclip_mm.index.approximate import ApproximateIndex
from eclip_mm.index.files import MANIFEST as EXACT_MANIFEST
from eclip_mm.index.lance import MANIFEST, LanceIndex
from eclip_mm.index.postgres import PostgresIndex
from eclip_mm.index.vector_index import VectorIndex

Index = VectorIndex | ApproximateIndex
_SCHEMES = ('postgresql://', 'postgres://')


def open_index(address: str | Path) -> Index:
    """The exact index in a folder, or its copy in LanceDB or PostgreSQL.

    Args:
        address: the folder, or the address of a database with the name of the table after ``#``,
            where ``%23`` stands for a ``#`` in the name.

    Raises:
        EnvironmentCheckError: LanceDB or the client of PostgreSQL is not installed.
        FileNotFoundError: the folder has no index.
        ValueError: the database has no such index, or the folder has both an exact index and a
            copy, of which one may be old.
        OSError: the database does not answer.
    """
    if str(address).startswith(_SCHEMES):
        dsn, _, table = str(address).partition('#')
        if not table:  # without the address, which may have a password
            raise ValueError(
                'the address of a database ends with the name of the table: '
                'postgresql://HOST/DATABASE#TABLE'
            )
        return PostgresIndex(dsn, unquote(table))
    if (Path(address) / MANIFEST).is_file():
        if (Path(address) / EXACT_MANIFEST).is_file():
            raise ValueError(
                f'{address} has an exact index and a copy in LanceDB, of which one may be old: '
                'build each in a folder of its own'
            )
        return LanceIndex(address)
    return VectorIndex(address)
