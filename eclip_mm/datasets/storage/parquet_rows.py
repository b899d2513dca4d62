"""Rows of Parquet as Python objects; one that cannot be read costs none of the others."""

import pyarrow as pa

from eclip_mm.datasets.storage.parquet_check import UNREADABLE


def to_rows(table: pa.Table | pa.RecordBatch) -> list[dict | ValueError]:
    """The rows of a table, or the reason why one cannot be read: its text is not UTF-8."""
    try:
        return table.to_pylist()
    except UNREADABLE:
        return [_to_row(table, i) for i in range(table.num_rows)]


def _to_row(table: pa.Table | pa.RecordBatch, i: int) -> dict | ValueError:
    row = {}
    for name in table.schema.names:
        try:
            row[name] = table.column(name)[i].as_py()
        except UnicodeDecodeError as error:
            return ValueError(
                f'field {name!r} is not UTF-8 (byte 0x{error.object[error.start]:02x} at '
                f'{error.start}); write it as UTF-8'
            )
        except UNREADABLE as error:
            return ValueError(f'field {name!r} cannot be read ({error})')
    return row
