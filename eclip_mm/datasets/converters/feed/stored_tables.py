"""Parquet and Arrow files as tables; the pictures in them are read when they are needed."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.converters.feed.rows import FeedTable, StoredPicture
from eclip_mm.datasets.storage.schema import CatalogueError

_BATCH_ROWS = 64


def read_stored(files: Sequence[Path], name: str) -> FeedTable:
    """One table of all files, which have the same columns.

    Args:
        files: ``.parquet`` files, or ``.arrow`` files as ``datasets`` saves them.
        name: the source, for messages.

    Raises:
        CatalogueError: a file cannot be read, or its columns are not those of the first.
    """
    table = FeedTable(name)
    schema = None
    for path in files:
        try:
            own, batches = (_arrow if path.suffix == '.arrow' else _parquet)(path)
            if schema is None:
                schema = own
                _describe(table, schema)
            elif own.names != schema.names:
                raise CatalogueError(
                    f'{path}: has the columns {", ".join(own.names)}, but {files[0]} has '
                    f'{", ".join(schema.names)}; convert them one by one'
                )
            classes = _class_names(own)
            for first, batch, read in batches:
                _add_rows(table, path, first, batch, read, classes)
        except (pa.ArrowException, OSError) as error:
            raise CatalogueError(f'{path}: cannot be read ({error}); export it again') from error
    return table


def _describe(table: FeedTable, schema: pa.Schema) -> None:
    table.columns = [name for name in schema.names if not name.startswith('__index_level_')]
    table.picture_columns = [c for c in table.columns if _has_bytes(schema.field(c).type)]
    table.class_columns = list(_class_names(schema))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of the ``ClassLabel`` columns of ``datasets``."""
    stored = (schema.metadata or {}).get(b'huggingface')
    features = json.loads(stored).get('info', {}).get('features', {}) if stored else {}
    return {
        name: feature['names']
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get('_type') == 'ClassLabel'
    }


def _parquet(path: Path) -> tuple[pa.Schema, Iterator]:
    file = pq.ParquetFile(path)

    def batches() -> Iterator:
        for group in range(file.num_row_groups):
            first = 0
            for batch in file.iter_batches(_BATCH_ROWS, [group], use_threads=False):
                yield batch, partial(_read_parquet, str(path), group, first)
                first += len(batch)

    return file.schema_arrow, _numbered(batches())


def _arrow(path: Path) -> tuple[pa.Schema, Iterator]:
    source = pa.memory_map(str(path))
    reader = pa.ipc.open_stream(source)
    # the pictures stay in the file, which is mapped to memory
    return reader.schema, _numbered((batch, partial(_read_batch, batch)) for batch in reader)


def _numbered(batches: Iterator) -> Iterator:
    first = 1
    for batch, read in batches:
        yield first, batch, read
        first += len(batch)


def _read_batch(batch: pa.RecordBatch, row: int, column: str, index: int | None) -> bytes:
    return _bytes_of(batch.column(column)[row], index)


@lru_cache(maxsize=1)
def _group_column(path: str, group: int, column: str) -> pa.ChunkedArray:
    return pq.ParquetFile(path).read_row_group(group, [column], use_threads=False)[column]


def _read_parquet(
    path: str, group: int, first: int, row: int, column: str, index: int | None
) -> bytes:
    return _bytes_of(_group_column(path, group, column)[first + row], index)


def _bytes_of(value: pa.Scalar, index: int | None) -> bytes:
    value = value if index is None else value.values[index]
    return (value['bytes'] if isinstance(value, pa.StructScalar) else value).as_py()


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether it is bytes, a struct with a field ``bytes``, or a list of these."""
    if _is_list(kind):
        return _has_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        at = kind.get_field_index('bytes')
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _add_rows(table, path: Path, first: int, batch: pa.RecordBatch, read, classes) -> None:
    columns = {}
    for name in table.columns:
        column = batch.column(name)
        if name in table.picture_columns:
            columns[name] = [
                _pictures(path, first, i, name, cell, read) for i, cell in enumerate(column)
            ]
        else:
            columns[name] = column.to_pylist()
        names = classes.get(name)
        if names is not None:
            columns[name] = [_class_name(value, names) for value in columns[name]]
    for i in range(len(batch)):
        table.add(f'{path}, row {first + i}', {name: columns[name][i] for name in columns})


def _class_name(value: int | None, names: Sequence[str]) -> str | None:
    # `datasets` stores -1 where there is no label
    return names[value] if value is not None and 0 <= value < len(names) else None


def _pictures(path: Path, first: int, row: int, column: str, cell: pa.Scalar, read):
    if not cell.is_valid:
        return None
    if isinstance(cell, (pa.ListScalar, pa.LargeListScalar)):
        return [
            _picture(path, first, row, column, index, item, read)
            for index, item in enumerate(cell.values)
        ]
    return _picture(path, first, row, column, None, cell, read)


def _picture(path: Path, first: int, row: int, column: str, index, cell: pa.Scalar, read):
    if isinstance(cell, pa.StructScalar) and cell.is_valid:
        if not cell['bytes'].is_valid:
            return cell['path'].as_py() if 'path' in cell.keys() else None
    elif not cell.is_valid:
        return None
    return StoredPicture(
        (str(path), first + row, column, index), partial(read, row, column, index)
    )
