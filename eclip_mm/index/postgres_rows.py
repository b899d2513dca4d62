"""The rows of an index on their way to PostgreSQL."""

import pyarrow.compute as pc

from eclip_mm.index.vector_index import VectorIndex


def copy_rows(connection, table, kinds: list[str], index: VectorIndex) -> None:
    """Copy all rows and vectors of an index to a table, with their numbers.

    Args:
        table: its quoted name.
        kinds: types of PostgreSQL of the columns.

    Raises:
        ValueError: a value does not fit; the product is named.
    """
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


def longest_text(index: VectorIndex, column: str) -> int:
    """Bytes of the longest text of a column."""
    lengths = (pc.max(pc.binary_length(rows[column])).as_py() for rows, _ in index.blocks())
    return max((length or 0 for length in lengths), default=0)
