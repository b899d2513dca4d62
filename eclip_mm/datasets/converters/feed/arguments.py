"""A feed from the options of a program."""

import argparse

from eclip_mm.datasets.converters.feed.feed import Feed
from eclip_mm.datasets.converters.feed.mapping import as_fields, read_mapping
from eclip_mm.datasets.storage.schema import CatalogueError


def open_feed(args: argparse.Namespace) -> Feed:
    """Open the feed that the options of ``add_feed_arguments`` describe.

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
