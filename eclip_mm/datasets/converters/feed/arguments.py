"""Options that say how a feed is read, for all programs that read one."""

import argparse

from eclip_mm.datasets.converters.feed.feed import Feed
from eclip_mm.datasets.converters.feed.mapping import as_fields, read_mapping
from eclip_mm.datasets.converters.feed.shops import SHOP_NAMES
from eclip_mm.datasets.storage.schema import CatalogueError


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source and the options of its mapping to a parser."""
    parser.add_argument(
        'source', help='.csv, .tsv, .xlsx, .json, .parquet or .arrow file, or a folder of the last'
    )
    parser.add_argument(
        '--shop',
        choices=[*SHOP_NAMES, 'none'],
        help='system that the source is an export of (default: guessed from its columns)',
    )
    parser.add_argument('--mapping', metavar='YAML', help='file that --show has printed')
    parser.add_argument(
        '--product-id',
        nargs='+',
        metavar='COLUMN',
        help='column of the id; of several, the first with a value. Rows with one id are one '
        "product; 'row number' makes each row a product",
    )
    parser.add_argument(
        '--text',
        nargs='+',
        action='append',
        metavar='TEMPLATE [WEIGHT]',
        help="part of the text, such as '{brand}, made of {material*}' (the star: all values of "
        'the product), and its weight where --max-words shares out the words; may be repeated',
    )
    parser.add_argument('--category', nargs='+', metavar='COLUMN', help='column of the category')
    parser.add_argument(
        '--picture',
        nargs='+',
        action='append',
        metavar='COLUMN [SOURCE [SEPARATOR]]',
        help="column of pictures, or a pattern such as '{sku}_*.jpg', with the source (default: "
        'merchant) and what divides several pictures of a cell; may be repeated',
    )
    parser.add_argument(
        '--attributes',
        nargs='+',
        metavar='COLUMN',
        help="columns to keep as attributes, 'all' others (default) or 'none'",
    )
    parser.add_argument('--encoding', help='encoding of a text file (default: UTF-8, or its mark)')
    parser.add_argument('--delimiter', help='delimiter of a .csv or .tsv file (default: guessed)')
    parser.add_argument('--sheet', help='sheet of an Excel file (default: the first)')


def open_feed(args: argparse.Namespace) -> Feed:
    """Open the feed that the options of :func:`add_feed_arguments` describe.

    Raises:
        CatalogueError: an option does not fit, or the feed cannot be read.
    """
    settings = read_mapping(args.mapping) if args.mapping else {}
    given: dict = {}
    if args.product_id:
        given['product_id'] = args.product_id
    if args.category:
        given['category'] = args.category
    if args.attributes:
        given['attributes'] = args.attributes
        if args.attributes in (['all'], ['none']):
            given['attributes'] = args.attributes[0]
    if args.text:
        given['text'] = [_text(words) for words in args.text]
    if args.picture:
        keys = ('name', 'source', 'separator')
        if any(len(words) > 3 for words in args.picture):
            raise CatalogueError('--picture takes a column, a source and a separator')
        given['pictures'] = [dict(zip(keys, words, strict=False)) for words in args.picture]
    settings.update(as_fields(given, 'command line'))
    delimiter = '\t' if args.delimiter == '\\t' else args.delimiter
    return Feed(args.source, args.shop, settings, args.encoding, delimiter, args.sheet)


def _text(words: list[str]) -> dict:
    if len(words) == 1:
        return dict(template=words[0])
    try:
        template, weight = words
        return dict(template=template, weight=float(weight))
    except ValueError as error:
        raise CatalogueError(
            f"--text takes a template and a weight, such as --text '{{title}}' 3; got "
            f'{" ".join(map(repr, words))}'
        ) from error
