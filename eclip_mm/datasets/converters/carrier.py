"""Conversion of a catalogue between JSON Lines and Parquet."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX, read_catalogue
from eclip_mm.datasets.converters.pictures import keep_readable
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
from eclip_mm.datasets.transforms.clean_text import TextReport, clean_rows


@dataclass
class CarrierReport:
    """Report on a copy.

    Attributes:
        rows: rows read and left out.
        texts: texts cleaned, and rows left out because they have no word.
    """

    rows: CatalogueReport
    texts: TextReport = field(default_factory=TextReport)

    def __str__(self) -> str:
        return f'{self.rows}{self.texts}'


def convert_carrier(
    source: str | Path,
    target: str | Path,
    image_dir: str | Path | None = None,
    strict: bool = False,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
    group_bytes: int = 2**20,
    check_pictures: bool = True,
    keep_text: bool = False,
) -> CarrierReport:
    """Copy a catalogue to Parquet or JSON Lines.

    Rows are copied one by one, which takes little memory. Pictures that cannot be decoded and
    rows without any other picture are left out, named and counted. Parquet contains the
    pictures; JSON Lines stores them in files beside it. A copy from Parquet to
    Parquet changes the size of the row groups.

    Args:
        source: catalogue to read.
        target: ``.jsonl`` or ``.parquet`` file. An existing one is replaced
            when the new one is complete.
        image_dir: folder for the pictures of a JSON Lines target; see
            :func:`~eclip_mm.datasets.storage.writers.write_jsonl`.
        strict: whether to raise an error at the first row that cannot be used.
        progress: function that wraps the sized sequence of rows, e.g. ``tqdm``.
        group_bytes: size of the row groups of a Parquet target. The default
            suits random access; streams need larger row groups.
        check_pictures: whether to decode the pictures, which takes about ten
            milliseconds a photo.
        keep_text: whether to copy texts as they are. Otherwise they are
            cleaned, and rows without a word are left out; see
            :func:`~eclip_mm.datasets.transforms.clean_text.clean_text`.

    Returns:
        Report on the rows read and left out, and on the texts cleaned.

    Raises:
        CatalogueError: the source cannot be read, no row can be used, or the
            target is the source or has an unknown suffix.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in (*JSONL_SUFFIXES, PARQUET_SUFFIX):
        raise CatalogueError(
            f'{target}: a catalogue cannot have the suffix {target.suffix!r}; '
            f'use {JSONL_SUFFIXES[0]} or {PARQUET_SUFFIX}'
        )
    if source.resolve() == target.resolve():
        raise CatalogueError(f'{target}: the target is the source itself; name another target')
    catalogue = read_catalogue(source, strict=strict)
    report = CarrierReport(catalogue.report)

    def usable() -> Iterator[dict]:
        rows = progress(catalogue)
        if not keep_text:
            rows = clean_rows(rows, report.texts)
        for row in rows:
            if not check_pictures or keep_readable(row, str(source), report.rows, strict):
                yield row
        if report.rows.num_used <= len(report.texts.left_out):
            raise CatalogueError(f'{source}: no row can be used\n{report}')

    if target.suffix == PARQUET_SUFFIX:
        if image_dir is not None:
            raise CatalogueError(
                f"{target}: 'image_dir' is for JSON Lines only, since Parquet contains the "
                'pictures; leave it out'
            )
        with ParquetCatalogueWriter(target, group_bytes=group_bytes) as writer:
            for row in usable():
                writer.write(row)
    else:
        write_jsonl(usable(), target, image_dir=image_dir)
    return report
