"""An index as a table of PostgreSQL, searched through pgvector."""

from collections.abc import Sequence
from hashlib import sha256
from threading import RLock

import numpy as np
import pyarrow as pa

from eclip_mm.index.approximate import ApproximateIndex
from eclip_mm.index.conditions import Condition, type_of_column
from eclip_mm.index.database import (
    check_name,
    connect,
    dict_rows,
    find_table,
    in_query,
    one_line,
    quoted,
    reconnecting,
    store_manifest,
)
from eclip_mm.index.postgres_rows import copy_rows, longest_text
from eclip_mm.index.sql_columns import sql_conditions, sql_type, stored_schema
from eclip_mm.index.vector_index import VectorIndex

#: the largest value of hnsw.ef_search; more rows are found exactly
_MAX_SCAN = 1000
#: a B-tree takes values of up to 2,704 bytes
_MAX_SORTED_BYTES = 2_000


class PostgresIndex(ApproximateIndex):
    """Searches a table of vectors by its HNSW index, and ranks what that finds exactly.

    The graph has half-precision vectors, and finds four times as many rows as are wanted; their
    order is that of the float32 vectors. It looks further until enough rows meet the conditions
    (``hnsw.iterative_scan``), and where it still finds too few, all rows are compared. Threads
    may share it. A table that is built anew with the same weights is searched from then on.

    Args:
        dsn: address of the database.
        table: name of the table that :meth:`build` has made.

    Attributes:
        manifest: that of the exact index, with the ``recall`` of this one.

    Raises:
        ValueError: the database has no such index, or another version of eclip_mm wrote it.
        OSError: the database does not answer, or refuses something.
    """

    @one_line
    def __init__(self, dsn: str, table: str) -> None:
        check_name('table', table)
        self.name, self.lock, self._dsn = table, RLock(), dsn
        self.connection = connect(dsn)
        try:
            self._read_manifest()
        except Exception:
            self.close()
            raise

    def _read_manifest(self) -> None:
        self._table_id, manifest = find_table(self.connection, self.name)
        if manifest is None:
            raise ValueError(f'the database has no index {self.name!r}; build it first')
        self.schema, self.manifest = stored_schema(self.name, manifest), manifest

    def reopen(self) -> None:
        """Connect again.

        Raises:
            ConnectionError: nothing answers.
        """
        self.connection.close()
        self.connection = connect(self._dsn)
        self._follow()

    def _follow(self) -> None:
        """Read the manifest of a table that was built anew.

        Raises:
            ValueError: it has other weights.
        """
        before = self.manifest['checkpoint_sha256']
        self._read_manifest()
        if self.manifest['checkpoint_sha256'] != before:
            raise ValueError(
                f'table {self.name!r} was built anew with other weights: open it again'
            )

    @classmethod
    @one_line
    def build(cls, dsn: str, table: str, index: VectorIndex) -> 'PostgresIndex':
        """Copy an index to a table; an older table is replaced when the new one is complete.

        The recall in ``manifest['recall']`` is measured against the exact index.

        Raises:
            ValueError: a name, a type or a value does not fit, or the table is no index.
            OSError: the database does not answer, or refuses something.
        """
        from psycopg import sql

        names = index.schema.names
        check_name('table', table)
        for name in names:
            check_name('column', name)
        kinds = [sql_type(index.schema.field(name)) for name in names]
        columns = [
            sql.SQL('{} {}').format(quoted(n), sql.SQL(k))
            for n, k in zip(names, kinds, strict=True)
        ]
        # not its name and something more: that may be too long, or the name of another table
        new = quoted(f'new_{sha256(table.encode()).hexdigest():.16}')
        dims = index.manifest['dims']
        connection = connect(dsn)
        # one transaction: readers see the old table until the new one is complete
        with connection, connection.transaction():
            table_id, found = find_table(connection, table)
            if table_id and found is None:
                raise ValueError(
                    f'the database has a table {table!r} that is no index; name another one'
                )
            run = connection.execute
            run("SET LOCAL maintenance_work_mem = '1GB'")
            run(sql.SQL('DROP TABLE IF EXISTS {}').format(new))
            run(
                sql.SQL(
                    'CREATE TABLE {} (id bigint PRIMARY KEY, {}, embedding vector({}))'
                ).format(new, sql.SQL(', ').join(columns), sql.Literal(dims))
            )
            copy_rows(connection, new, kinds, index)
            run(
                sql.SQL(
                    'CREATE INDEX ON {} USING hnsw ((embedding::halfvec({})) halfvec_ip_ops)'
                ).format(new, sql.Literal(dims))
            )
            for name in ('product_id', 'category'):
                method = 'hash' if longest_text(index, name) > _MAX_SORTED_BYTES else 'btree'
                create = sql.SQL(f'CREATE INDEX ON {{}} USING {method} ({name})')
                run(create.format(new))
            run(sql.SQL('DROP TABLE IF EXISTS {}').format(quoted(table)))
            run(sql.SQL('ALTER TABLE {} RENAME TO {}').format(new, quoted(table)))
            manifest = dict(index.manifest, columns=list(zip(names, kinds, strict=True)))
            store_manifest(connection, table, manifest)
        connection = connect(dsn)
        connection.execute(sql.SQL('ANALYZE {}').format(quoted(table)))
        built = cls(dsn, table)
        built.manifest['recall'] = built.measure(index)
        store_manifest(connection, table, built.manifest)
        connection.close()
        return built

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @one_line
    @reconnecting
    def search(self, *args, **kwargs) -> list[list[dict]]:
        """As :meth:`ApproximateIndex.search`.

        Raises:
            OSError: the database does not answer.
        """
        return super().search(*args, **kwargs)

    @one_line
    @reconnecting
    def __len__(self) -> int:
        return self._rows('SELECT count(*) FROM {}', quoted(self.name))[0][0]

    @one_line
    @reconnecting
    def values_of(self, column: str) -> list:
        is_list = pa.types.is_list(type_of_column(column, self.schema))
        values = 'unnest({})' if is_list else '{}'
        rows = self._rows(f'SELECT DISTINCT {values} FROM {{}}', *map(quoted, (column, self.name)))
        return sorted(value for (value,) in rows if value is not None)

    @one_line
    @reconnecting
    def vectors_of(self, product_id: str) -> np.ndarray:
        statement = 'SELECT embedding::real[] FROM {} WHERE product_id = %s ORDER BY id'
        rows = self._rows(statement, in_query(self.name), values=[product_id])
        if not rows:
            raise KeyError(f'{self.name} has no product_id {product_id!r}')
        return np.array([vector for (vector,) in rows], dtype=np.float32)

    def _rows(self, statement: str, *names, values: Sequence | None = None) -> list[tuple]:
        from psycopg import sql

        return self.connection.execute(sql.SQL(statement).format(*names), values).fetchall()

    def nearest(self, query, take: int, condition) -> list[dict]:
        from psycopg import sql

        condition, values = condition
        scan, dims = 4 * take, sql.Literal(self.manifest['dims'])
        statement = sql.SQL(
            'SELECT tableoid, id, {columns}, -(embedding <#> %s) AS score FROM '
            '(SELECT tableoid, * FROM {table} WHERE {where} '
            'ORDER BY embedding::halfvec({dims}) <#> %s::vector::halfvec({dims}) '
            'LIMIT {scan}) AS near ORDER BY embedding <#> %s, id LIMIT {take}'
        ).format(
            columns=sql.SQL(', ').join(map(in_query, self.schema.names)),
            table=in_query(self.name),
            where=condition,
            dims=dims,
            scan=sql.Literal(scan),
            take=sql.Literal(take),
        )
        arguments = [query, *values, query, query]
        with (
            self.connection.transaction(),
            self.connection.cursor(row_factory=dict_rows()) as cursor,
        ):
            if scan <= _MAX_SCAN:
                cursor.execute(f'SET LOCAL hnsw.ef_search = {max(scan, 100)}')
                cursor.execute('SET LOCAL hnsw.iterative_scan = strict_order')
                rows = cursor.execute(statement, arguments).fetchall()
                if len(rows) == take:
                    return self._checked(rows)
            cursor.execute('SET LOCAL enable_indexscan = off')  # compares all rows
            return self._checked(cursor.execute(statement, arguments).fetchall())

    def _checked(self, rows: list[dict]) -> list[dict]:
        """Rows of the table that was opened, or of one that took its place."""
        ids = {row.pop('tableoid') for row in rows}
        if ids - {self._table_id}:
            self._follow()
        return rows

    def condition(self, conditions: Sequence[Condition]):
        return sql_conditions(conditions, self.schema)

    def every(self, number: int):
        from psycopg import sql

        return sql.SQL('id %% {} = 0').format(sql.Literal(number)), []
