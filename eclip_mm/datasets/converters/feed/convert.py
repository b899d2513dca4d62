"""From the export of a shop to a catalogue."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from eclip_mm.datasets.catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX
from eclip_mm.datasets.converters.feed.attributes import Attributes
from eclip_mm.datasets.converters.feed.feed import Feed, FeedReport
from eclip_mm.datasets.converters.feed.fetched import FetchedPictures, default_folder
from eclip_mm.datasets.converters.feed.mapping import FeedMapping
from eclip_mm.datasets.converters.feed.pictures import (
    PictureFinder,
    PictureNotFoundError,
    named_pictures,
)
from eclip_mm.datasets.converters.feed.rows import FeedRow, StoredPicture
from eclip_mm.datasets.converters.feed.texts import make_text, values_of
from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
from eclip_mm.datasets.transforms.clean_text import clean_rows, clean_text
from eclip_mm.datasets.transforms.loading import ImageDecodeError


def convert_feed(
    feed: Feed,
    target: str | Path,
    picture_roots: Sequence[str | Path] = (),
    fetched: str | Path | None = None,
    max_words: int | None = None,
    max_size: int | None = None,
    quality: int = 90,
    progress: Callable[[Iterable], Iterable] = lambda products: products,
) -> FeedReport:
    """Write the products of a feed as a catalogue.

    Rows of one product become one row. Every picture is decoded once, so what is not a
    picture does not enter the catalogue.

    Args:
        feed: the feed.
        target: ``.parquet`` file, which contains the pictures, or ``.jsonl`` file.
        picture_roots: folders and archives that paths of pictures are relative to. Defaults to the
            folder of the feed.
        fetched: folder that :func:`fetch_pictures` has written. Defaults to
            ``{stem}_pictures`` beside the feed.
        max_words: longest text in words; see
            :func:`~eclip_mm.datasets.converters.feed.texts.share_words`.
        max_size: longest side of the stored pictures in pixels; None keeps them as they are.
        quality: JPEG quality of pictures that are scaled down.
        progress: function that wraps the sized sequence of products.

    Returns:
        Report on what was written and left out.

    Raises:
        CatalogueError: the target has an unknown suffix, a root does not exist, or no product can
            be used.
    """
    target = Path(target)
    if target.suffix not in (*JSONL_SUFFIXES, PARQUET_SUFFIX):
        raise CatalogueError(
            f'{target}: a catalogue cannot have the suffix {target.suffix!r}; '
            f'use {JSONL_SUFFIXES[0]} or {PARQUET_SUFFIX}'
        )
    if target.resolve() == feed.source.resolve():
        raise CatalogueError(f'{target}: the target is the source itself; name another target')
    source = feed.source
    roots = list(picture_roots) or [source if source.is_dir() else source.absolute().parent]
    folder = default_folder(source) if fetched is None else Path(fetched)
    finder = PictureFinder(roots, FetchedPictures(folder) if folder.is_dir() else None)
    options = dict(max_words=max_words, max_size=max_size, quality=quality)
    report = FeedReport()
    rows = _rows(feed, finder, options, report, progress, target.suffix == PARQUET_SUFFIX)
    rows = _counted(clean_rows(rows, report.texts), report, source)
    if target.suffix == PARQUET_SUFFIX:
        with ParquetCatalogueWriter(target) as writer:
            for row in rows:
                writer.write(row)
    else:
        write_jsonl(rows, target)
    return report


def _counted(rows: Iterator[dict], report: FeedReport, source: Path) -> Iterator[dict]:
    for row in rows:
        report.num_products += 1
        report.num_pictures += len(row['images'])
        yield row
    if not report.num_products:
        raise CatalogueError(f'{source}: no product can be used: {report}')


def _rows(feed, finder, options, report, progress, inside: bool) -> Iterator[dict]:
    mapping = feed.mapping
    products = feed.products(report)
    attributes = Attributes(feed.table, mapping)
    for product_id in progress(list(products)):
        stored = products.pop(product_id)
        rows = []
        for row in stored:
            values, changes = _clean_values(row.values)
            rows.append(FeedRow(row.place, values))
            report.texts.add(product_id, changes)
        text = make_text(rows, mapping.text, options['max_words'])
        images = list(_images(stored, mapping, finder, options, report, inside)) if text else []
        if not images:
            missing = 'text' if not text else 'usable picture'
            report.num_left_out += 1
            report.problems.append(f'{rows[0].place}: product {product_id!r} has no {missing}')
            continue
        categories = (values_of(rows, column) for column in mapping.category)
        row = dict(
            product_id=product_id,
            text=text,
            category=next((found[0] for found in categories if found), None),
            images=images,
        )
        found, _ = _clean_values(attributes.of(stored))
        yield {**row, 'attributes': found} if found else row


def _clean_values(values: dict) -> tuple[dict, list[str]]:
    """Cells with clean texts, without those that are empty then, and what was changed.

    Cells are cleaned before the words of a text are shared out, so that HTML takes no share.
    """
    changes: dict[str, None] = {}

    def clean(value):
        if isinstance(value, str):
            text, found = clean_text(value, max_chars=None)
            changes.update(dict.fromkeys(change for change in found if change != 'no word'))
            return text
        return list(map(clean, value)) if isinstance(value, list) else value

    cleaned = {key: clean(value) for key, value in values.items()}
    return {key: value for key, value in cleaned.items() if value not in ('', [])}, list(changes)


def _images(rows, mapping: FeedMapping, finder, options, report, inside: bool) -> Iterator[dict]:
    for place, value, source in named_pictures(rows, mapping.pictures):
        try:
            for found in finder.find(value):
                image = dict(source=source)
                try:
                    if isinstance(found, StoredPicture):
                        image['bytes'] = found.read()
                    else:
                        image['path'] = str(found)
                    shrunk = shrink_picture(image, options['max_size'], options['quality'])
                except (ImageDecodeError, OSError) as error:
                    reason = str(error).partition(' cannot be decoded: ')[2] or error
                    named = image.get('path', value)
                    report.problems.append(f"{place}: the picture '{named}' is broken: {reason}")
                    continue
                # a file that is not scaled stays where it is, beside a catalogue of paths
                keep = not inside and 'path' in image and options['max_size'] is None
                yield image if keep else shrunk
        except PictureNotFoundError as error:
            report.problems.append(f'{place}: {error}')
