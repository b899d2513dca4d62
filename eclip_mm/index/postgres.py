"""An index as a table of PostgreSQL, searched through pgvector."""

import json
from collections.abc import Sequence

import pyarrow as pa

from eclip_mm.index.approximate import ApproximateIndex
from eclip_mm.index.conditions import Condition
from eclip_mm.index.vector_index import VectorIndex
from eclip_mm.utils.env_check import check_pgvector

#: the largest value of hnsw.ef_search; more rows are found exactly
_MAX_SCAN = 1000
_TYPES = ((pa.types.is_boolean, 'boolean'), (pa.types.is_integer, 'bigint'))
_TYPES += ((pa.types.is_floating, 'double precision'), (pa.types.is_string, 'text'))


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
    """

    def __init__(self, dsn: str, table: str) -> None:
        self.connection, self.name = _connect(dsn), table
        found = self.connection.execute(
            'SELECT obj_description(to_regclass(%s))', [_quoted(table).as_string(None)]
        ).fetchone()
        if not found[0]:
            self.close()
            raise ValueError(f'the database has no index {table!r}; build it first')
        self.manifest = json.loads(found[0])
        self.schema = pa.schema(
            [pa.field(name, getattr(pa, kind)()) for name, kind in self.manifest['columns']]
        )

    @classmethod
    def build(cls, dsn: str, table: str, index: VectorIndex) -> 'PostgresIndex':
        """Copy an index to a table; an older table is replaced when the new one is complete.

        The recall in ``manifest['recall']`` is measured against the exact index.
        """
        from psycopg import sql

        names = index.schema.names
        kinds = [_sql_type(index.schema.field(name)) for name in names]
        columns = [
            sql.SQL('{} {}').format(_quoted(n), sql.SQL(k))
            for n, k in zip(names, kinds, strict=True)
        ]
        dims, new = index.manifest['dims'], _quoted(f'{table}_new')
        connection = _connect(dsn)
        # one transaction: readers see the old table until the new one is complete
        with connection, connection.transaction():
            run = connection.execute
            run("SET LOCAL maintenance_work_mem = '1GB'")
            run(sql.SQL('DROP TABLE IF EXISTS {}').format(new))
            run(
                sql.SQL(
                    'CREATE TABLE {} (id bigint PRIMARY KEY, {}, embedding vector({}))'
                ).format(new, sql.SQL(', ').join(columns), sql.Literal(dims))
            )
            copy = sql.SQL('COPY {} FROM STDIN WITH (FORMAT BINARY)').format(new)
            with connection.cursor().copy(copy) as rows:
                kinds = [{'double precision': 'float8', 'bigint': 'int8'}.get(k, k) for k in kinds]
                rows.set_types(['int8', *kinds, 'vector'])
                number = 0
                for block, vectors in index.blocks():
                    for row, vector in zip(block.to_pylist(), vectors, strict=True):
                        rows.write_row([number, *row.values(), vector])
                        number += 1
            run(
                sql.SQL(
                    'CREATE INDEX ON {} USING hnsw ((embedding::halfvec({})) halfvec_ip_ops)'
                ).format(new, sql.Literal(dims))
            )
            run(sql.SQL('CREATE INDEX ON {} (product_id)').format(new))
            run(sql.SQL('CREATE INDEX ON {} (category)').format(new))
            run(sql.SQL('DROP TABLE IF EXISTS {}').format(_quoted(table)))
            run(sql.SQL('ALTER TABLE {} RENAME TO {}').format(new, _quoted(table)))
            types = [(n, _arrow_type(index.schema.field(n).type)) for n in names]
            manifest = dict(index.manifest, columns=types)
            _comment(connection, table, manifest)
        connection = _connect(dsn)
        connection.execute(sql.SQL('ANALYZE {}').format(_quoted(table)))
        built = cls(dsn, table)
        built.manifest['recall'] = built.measure(index)
        _comment(connection, table, built.manifest)
        connection.close()
        return built

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def nearest(self, query, take: int, condition) -> list[dict]:
        from psycopg import sql

        condition, values = condition
        scan, dims = 4 * take, sql.Literal(self.manifest['dims'])
        statement = sql.SQL(
            'SELECT id, {columns}, -(embedding <#> %s) AS score FROM (SELECT * FROM {table} '
            'WHERE {where} ORDER BY embedding::halfvec({dims}) <#> %s::vector::halfvec({dims}) '
            'LIMIT {scan}) AS near ORDER BY embedding <#> %s, id LIMIT {take}'
        ).format(
            columns=sql.SQL(', ').join(map(_quoted, self.schema.names)),
            table=_quoted(self.name),
            where=condition,
            dims=dims,
            scan=sql.Literal(scan),
            take=sql.Literal(take),
        )
        arguments = [query, *values, query, query]
        with self.connection.transaction(), self.connection.cursor(row_factory=_dicts()) as cursor:
            if scan <= _MAX_SCAN:
                cursor.execute(f'SET LOCAL hnsw.ef_search = {max(scan, 100)}')
                cursor.execute('SET LOCAL hnsw.iterative_scan = strict_order')
                rows = cursor.execute(statement, arguments).fetchall()
                if len(rows) == take:
                    return rows
            cursor.execute('SET LOCAL enable_indexscan = off')  # compares all rows
            return cursor.execute(statement, arguments).fetchall()

    def condition(self, conditions: Sequence[Condition]):
        from psycopg import sql

        parts, values = [sql.SQL('true')], []
        for column, op, value in conditions:
            form = {'in': '{} = ANY(%s)', 'not in': '{} <> ALL(%s)'}.get(op, f'{{}} {op} %s')
            parts.append(sql.SQL(form).format(_quoted(column)))
            values.append(value)
        return sql.SQL(' AND ').join(parts), values

    def every(self, number: int):
        from psycopg import sql

        return sql.SQL('id %% {} = 0').format(sql.Literal(number)), []


def _connect(dsn: str):
    check_pgvector()
    import psycopg
    from pgvector.psycopg import register_vector

    if not dsn:
        raise ValueError('the address of the database is missing: --dsn, or ECLIP_MM_DSN')
    try:
        connection = psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConnectionError(f'the database does not answer: {str(error).strip()}') from error
    connection.execute('CREATE EXTENSION IF NOT EXISTS vector')
    register_vector(connection)
    return connection


def _dicts():
    from psycopg.rows import dict_row

    return dict_row


def _quoted(name: str):
    from psycopg import sql

    return sql.Identifier(name)


def _comment(connection, table: str, manifest: dict) -> None:
    from psycopg import sql

    text = json.dumps(manifest)
    connection.execute(sql.SQL('COMMENT ON TABLE {} IS {}').format(_quoted(table), text))


def _arrow_type(kind: pa.DataType) -> str:
    names = {'boolean': 'bool_', 'bigint': 'int64', 'double precision': 'float64'}
    return names.get(_sql_type(pa.field('', kind)), 'string')


def _sql_type(field: pa.Field) -> str:
    for is_kind, name in _TYPES:
        if is_kind(field.type):
            return name
    raise ValueError(
        f'column {field.name!r} is {field.type}, which is not copied to PostgreSQL; leave it out '
        'of --columns'
    )
