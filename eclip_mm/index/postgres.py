"""An index as a table of PostgreSQL, searched through pgvector."""

from collections.abc import Sequence
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc

from eclip_mm.index.approximate import ApproximateIndex
from eclip_mm.index.conditions import Condition
from eclip_mm.index.database import (
    check_name,
    connect,
    dict_rows,
    find_table,
    in_query,
    one_line,
    quoted,
    store_manifest,
)
from eclip_mm.index.sql_columns import ARROW_TYPES, sql_conditions, sql_type
from eclip_mm.index.vector_index import VectorIndex

#: the largest value of hnsw.ef_search; more rows are found exactly
_MAX_SCAN = 1000
#: a B-tree takes values of up to 2,704 bytes
_MAX_SORTED_BYTES = 2_000


class PostgresIndex(ApproximateIndex):
    """Searches a table of vectors by its HNSW index, and ranks what that finds exactly.

    The graph has half-precision vectors, and finds four times as many rows as are wanted; their
    order is that of the float32 vectors. It looks further until enough rows meet the conditions
    (``hnsw.iterative_scan``), and where it still finds too few, all rows are compared.

    Args:
        dsn: address of the database.
        table: name of the table that :meth:`build` has made.

    Attributes:
        manifest: that of the exact index, with the ``recall`` of this one.

    Raises:
        ValueError: the database has no such index.
        OSError: the database does not answer, or refuses something.
    """

    @one_line
    def __init__(self, dsn: str, table: str) -> None:
        check_name('table', table)
        self.connection, self.name = connect(dsn), table
        _, self.manifest = find_table(self.connection, table)
        if self.manifest is None:
            self.close()
            raise ValueError(f'the database has no index {table!r}; build it first')
        self.schema = pa.schema(
            [pa.field(name, ARROW_TYPES[kind]) for name, kind in self.manifest['columns']]
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
            if find_table(connection, table) == (True, None):
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
            _copy_rows(connection, new, kinds, index)
            run(
                sql.SQL(
                    'CREATE INDEX ON {} USING hnsw ((embedding::halfvec({})) halfvec_ip_ops)'
                ).format(new, sql.Literal(dims))
            )
            for name in ('product_id', 'category'):
                method = 'hash' if _longest(index, name) > _MAX_SORTED_BYTES else 'btree'
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
    def search(self, *args, **kwargs) -> list[list[dict]]:
        """As :meth:`ApproximateIndex.search`.

        Raises:
            OSError: the database does not answer.
        """
        return super().search(*args, **kwargs)

    def nearest(self, query, take: int, condition) -> list[dict]:
        from psycopg import sql

        condition, values = condition
        scan, dims = 4 * take, sql.Literal(self.manifest['dims'])
        statement = sql.SQL(
            'SELECT id, {columns}, -(embedding <#> %s) AS score FROM (SELECT * FROM {table} '
            'WHERE {where} ORDER BY embedding::halfvec({dims}) <#> %s::vector::halfvec({dims}) '
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
                    return rows
            cursor.execute('SET LOCAL enable_indexscan = off')  # compares all rows
            return cursor.execute(statement, arguments).fetchall()

    def condition(self, conditions: Sequence[Condition]):
        return sql_conditions(conditions, self.schema)

    def every(self, number: int):
        from psycopg import sql

        return sql.SQL('id %% {} = 0').format(sql.Literal(number)), []


def _copy_rows(connection, table, kinds: list[str], index: VectorIndex) -> None:
    from psycopg import DataError, sql

    statement = sql.SQL('COPY {} FROM STDIN WITH (FORMAT BINARY)').format(table)
    kinds = [{'double precision': 'float8', 'bigint': 'int8'}.get(kind, kind) for kind in kinds]
    with connection.cursor().copy(statement) as copy:
        copy.set_types(['int8', *kinds, 'vector'])
        number = 0
        for block, vectors in index.blocks():
            for row, vector in zip(block.to_pylist(), vectors, strict=True):
                try:
                    copy.write_row([number, *row.values(), vector])
                except (DataError, OverflowError) as error:
                    raise ValueError(
                        f'product_id {row["product_id"]!r} has a value that PostgreSQL cannot '
                        f'store: {error}'
                    ) from error
                number += 1


def _longest(index: VectorIndex, column: str) -> int:
    """Bytes of the longest text of a column."""
    lengths = (pc.max(pc.binary_length(rows[column])).as_py() for rows, _ in index.blocks())
    return max((length or 0 for length in lengths), default=0)
