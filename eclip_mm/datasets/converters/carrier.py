"""JSON Lines to Parquet and back."""

from collections.abc import Callable, Iterable
from pathlib import Path

from eclip_mm.datasets.catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX, read_catalogue
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl


def convert_carrier(
    source: str | Path,
    target: str | Path,
    image_dir: str | Path | None = None,
    strict: bool = False,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
    group_bytes: int = 2**20,
) -> CatalogueReport:
    """Write a catalogue in the other carrier, or again in the same one.

    Rows are written one by one, in little memory. Parquet takes the pictures into the file, JSON
    Lines saves them beside it. Parquet to Parquet makes row groups small.

    Args:
        source: Catalogue to read.
        target: ``.jsonl`` or ``.parquet``; an old file is replaced when the new one is complete.
        image_dir: Where pictures go when the target is JSON Lines; see
            :func:`~eclip_mm.datasets.storage.writers.write_jsonl`.
        strict: Raise at the first row that cannot be used.
        progress: Wraps the sized sequence of rows, e.g. ``tqdm``.
        group_bytes: Size of the row groups of a Parquet target. The default is for reading at
            random; streams need larger ones.

    Returns:
        What was read, and what was left out.

    Raises:
        CatalogueError: The source cannot be read, or the target is the source or has an unknown
            suffix.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in (*JSONL_SUFFIXES, PARQUET_SUFFIX):
        raise CatalogueError(
            f'{target}: the suffix {target.suffix!r} is not one of a catalogue; '
            f'use {JSONL_SUFFIXES[0]} or {PARQUET_SUFFIX}'
        )
    if source.resolve() == target.resolve():
        raise CatalogueError(f'{target}: is the source itself; name another target')
    catalogue = read_catalogue(source, strict=strict)
    if target.suffix == PARQUET_SUFFIX:
        if image_dir is not None:
            raise CatalogueError(
                f"{target}: 'image_dir' is for JSON Lines; Parquet takes the "
                'pictures into the file'
            )
        with ParquetCatalogueWriter(target, group_bytes=group_bytes) as writer:
            for row in progress(catalogue):
                writer.write(row)
    else:
        write_jsonl(progress(catalogue), target, image_dir=image_dir)
    return catalogue.report
