"""Which rows of a catalogue make which shard of features.

Nothing is scanned but the footers of Parquet files and the line ends of JSON Lines, so that every
machine of a cluster can start at any slice of a catalogue of any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from eclip_mm.datasets.catalogue import open_carriers
from eclip_mm.datasets.storage.parquet_reader import ParquetShard


@dataclass(frozen=True)
class Slice:
    """Rows of one catalogue file.

    Attributes:
        shard: Number of the shard that they make, from 0.
        path: The file.
        start, stop: First row and the one after the last, from 0; lines
            in JSON Lines.
        num_rows: Rows to be found there: lines that are not blank.
        offset: Byte at which row ``start`` begins; JSON Lines only.
    """

    shard: int
    path: str
    start: int
    stop: int
    num_rows: int
    offset: int = 0


def plan_slices(
    catalogue: str | Path | Sequence[str | Path], rows_per_shard: int
) -> tuple[list[Slice], list[dict]]:
    """Deal the rows of a catalogue to shards; the same catalogue gives the same slices.

    A slice lies in one file, the last of a file may be short.

    Args:
        catalogue: As for
            :func:`~eclip_mm.datasets.catalogue.read_catalogue`.
        rows_per_shard: Rows of a slice.

    Returns:
        The slices, in the order of the rows, and ``{path, bytes, rows}``
        of each file.

    Raises:
        CatalogueError: A file does not exist or is not a catalogue.
        ValueError: ``rows_per_shard`` is less than 1.
    """
    if rows_per_shard < 1:
        raise ValueError(f'rows_per_shard is at least 1, got {rows_per_shard}')
    paths = [catalogue] if isinstance(catalogue, (str, Path)) else catalogue
    slices, files = [], []
    for carrier in (c for path in paths for c in open_carriers(Path(path))):
        if isinstance(carrier, ParquetShard):
            num_rows = pq.read_metadata(carrier.path).num_rows
            starts = range(0, num_rows, rows_per_shard)
            begins = [(0, min(rows_per_shard, num_rows - start)) for start in starts]
        else:
            num_rows, begins = _scan_lines(carrier.path, rows_per_shard)
        path = str(carrier.path)
        files.append(dict(path=path, bytes=carrier.path.stat().st_size, rows=num_rows))
        for k, (offset, count) in enumerate(begins):
            start = k * rows_per_shard
            stop = min(start + rows_per_shard, num_rows)
            slices.append(Slice(len(slices), path, start, stop, count, offset))
    return slices, files


def _scan_lines(path: Path, step: int) -> tuple[int, list[list[int]]]:
    """Lines of a file; for each ``step`` of them, the byte at which they begin and their rows."""
    begins, position, number = [], 0, 0
    with open(path, 'rb') as file:
        for line in file:
            if number % step == 0:
                begins.append([position, 0])
            begins[-1][1] += bool(line.strip())
            position += len(line)
            number += 1
    return number, begins
