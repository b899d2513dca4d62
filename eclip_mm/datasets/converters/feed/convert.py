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
from eclip_mm.datasets.converters.feed.rows import StoredPicture
from eclip_mm.datasets.converters.feed.texts import make_text, values_of
from eclip_mm.datasets.converters.pictures import shrink_picture
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
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
    if target.suffix == PARQUET_SUFFIX:
        with ParquetCatalogueWriter(target) as writer:
            for row in rows:
                writer.write(row)
            _check_any(report, source)
    else:
        write_jsonl(_some(rows, report, source), target)
    return report


def _some(rows: Iterator[dict], report: FeedReport, source: Path) -> Iterator[dict]:
    yield from rows
    _check_any(report, source)


def _check_any(report: FeedReport, source: Path) -> None:
    if not report.num_products:
        raise CatalogueError(f'{source}: no product can be used: {report}')


def _rows(feed, finder, options, report, progress, inside: bool) -> Iterator[dict]:
    mapping = feed.mapping
    products = feed.products(report)
    attributes = Attributes(feed.table, mapping)
    for product_id in progress(list(products)):
        rows = products.pop(product_id)
        text = make_text(rows, mapping.text, options['max_words'])
        images = list(_images(rows, mapping, finder, options, report, inside)) if text else []
        if not images:
            missing = 'text' if not text else 'usable picture'
            report.num_left_out += 1
            report.problems.append(f'{rows[0].place}: product {product_id!r} has no {missing}')
            continue
        report.num_products += 1
        report.num_pictures += len(images)
        categories = (values_of(rows, column) for column in mapping.category)
        row = dict(
            product_id=product_id,
            text=text,
            category=next((found[0] for found in categories if found), None),
            images=images,
        )
        found = attributes.of(rows)
        yield {**row, 'attributes': found} if found else row


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
