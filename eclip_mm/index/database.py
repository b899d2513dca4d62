"""What a table of PostgreSQL needs: a connection, names, its manifest, and errors of one line."""

import json
from collections.abc import Callable
from functools import wraps

from eclip_mm.utils.env_check import check_pgvector

#: PostgreSQL cuts longer names
_MAX_NAME_BYTES = 63


def one_line(method: Callable) -> Callable:
    """Let a method raise errors of the database as ``OSError`` of one line."""

    @wraps(method)
    def wrapped(*args, **kwargs):
        check_pgvector()
        import psycopg

        try:
            return method(*args, **kwargs)
        except psycopg.Error as error:
            found = error.diag  # the context names the row and column of a value
            parts = [found.message_primary, found.message_detail, found.context]
            reason = '; '.join(filter(None, parts)) or ' '.join(str(error).split())
            raise OSError(f'PostgreSQL: {reason}') from error

    return wrapped


def connect(dsn: str):
    """A connection that knows vectors.

    Raises:
        ValueError: there is no address.
        ConnectionError: nothing answers there.
    """
    check_pgvector()
    import psycopg
    from pgvector.psycopg import register_vector

    if not dsn:
        raise ValueError('the address of the database is missing: --dsn, or ECLIP_MM_DSN')
    try:
        connection = psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError as error:
        reason = ' '.join(str(error).split())
        raise ConnectionError(f'the database does not answer: {reason}') from error
    connection.execute('CREATE EXTENSION IF NOT EXISTS vector')
    register_vector(connection)
    return connection


def reconnecting(method: Callable) -> Callable:
    """Let threads call a method of an index in turns, on a new connection if the old one is lost.

    The index has a ``lock``, a ``connection``, and ``reopen()``, which makes another one.
    """

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        import psycopg

        with self.lock:
            try:
                return method(self, *args, **kwargs)
            except psycopg.OperationalError:
                if not self.connection.closed:
                    raise
                self.reopen()
                return method(self, *args, **kwargs)

    return wrapped


def dict_rows():
    """What makes a dict of each row."""
    from psycopg.rows import dict_row

    return dict_row


def quoted(name: str):
    """A name in a statement."""
    from psycopg import sql

    return sql.Identifier(name)


def in_query(name: str):
    """A name in a query with arguments, whose places are marked by per cent signs."""
    from psycopg import sql

    return sql.SQL(quoted(name).as_string(None).replace('%', '%%'))


def check_name(what: str, name: str) -> None:
    """Check the name of a table or column.

    Raises:
        ValueError: PostgreSQL would cut or refuse it.
    """
    if not name or '\0' in name or len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(
            f'{what} {name!r}: a name in PostgreSQL has 1 to {_MAX_NAME_BYTES} bytes; shorten it'
        )


def find_table(connection, table: str) -> tuple[int | None, dict | None]:
    """The id of a table, None if there is none, and the manifest in its comment if it has one."""
    name = quoted(table).as_string(None)
    table_id, comment = connection.execute(
        'SELECT to_regclass(%s)::oid, obj_description(to_regclass(%s))', [name, name]
    ).fetchone()
    try:
        manifest = json.loads(comment or 'null')
    except ValueError:
        manifest = None
    return table_id, manifest if isinstance(manifest, dict) and 'dims' in manifest else None


def store_manifest(connection, table: str, manifest: dict) -> None:
    """Store a manifest in the comment of a table."""
    from psycopg import sql

    text = json.dumps(manifest)
    connection.execute(sql.SQL('COMMENT ON TABLE {} IS {}').format(quoted(table), text))
