"""Which rows of a catalogue make which shard of features.

Only the footers of Parquet files and the line ends of JSON Lines are read, so that every machine
of a cluster can start at any row range of a catalogue of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.storage.stored_files import find_files


@dataclass(frozen=True)
class RowRange:
    """Rows of one catalogue file.

    Attributes:
        shard: number of the shard that they make, from 0.
        path: path or address of the file.
        start, stop: first row and the one after the last, from 0; lines in JSON Lines.
        num_rows: number of rows expected there: lines that are not blank.
        offset: byte at which row ``start`` begins; JSON Lines only.
    """

    shard: int
    path: str
    start: int
    stop: int
    num_rows: int
    offset: int = 0


def plan_row_ranges(
    catalogue: str | Path | Sequence[str | Path],
    rows_per_shard: int,
    storage_options: dict | None = None,
) -> tuple[list[RowRange], list[dict]]:
    """Divide the rows of a catalogue into shards; the same catalogue gives the same row ranges.

    A row range lies in one file, and the last one of a file may be short.

    Args:
        catalogue: files, folders or patterns; paths, or addresses of a file system that ``fsspec``
            knows.
        rows_per_shard: rows of a row range.
        storage_options: passed to the file system.

    Returns:
        The row ranges, in the order of the rows, and ``{path, bytes, rows}`` of each file.

    Raises:
        CatalogueError: a file does not exist or is not a catalogue.
        ValueError: ``rows_per_shard`` is less than 1.
    """
    if rows_per_shard < 1:
        raise ValueError(f'rows_per_shard is at least 1, got {rows_per_shard}')
    ranges, files = [], []
    for opened in map(open_file, find_files(catalogue, storage_options)):
        num_rows, parts = opened.divide(rows_per_shard)
        file = opened.file
        files.append(dict(path=file.url, bytes=file.num_bytes(), rows=num_rows))
        for k, (offset, count) in enumerate(parts):
            start = k * rows_per_shard
            stop = min(start + rows_per_shard, num_rows)
            ranges.append(RowRange(len(ranges), file.url, start, stop, count, offset))
    return ranges, files
