"""``eclip-mm index``: build an index, change it, or write it for another program."""

import argparse
import json
import os
import sys

from eclip_mm.cli.inputs import ADDRESS, bar
from eclip_mm.utils.command import part_parser

BUILD = """example:
  eclip-mm index build my/index my/features --columns my/prices.csv --dtype float16"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    args = _parser(name).parse_args(arguments)
    from eclip_mm.index import (
        VectorIndex,
        open_index,
        write_bulk,
    )  # after --help: it imports torch

    if args.action == 'build':
        options = (args.feature, args.columns, args.dtype, args.attributes)
        with bar('index', 'product', None, args.quiet) as shown:

            def progress(count: int, total: int) -> None:
                shown.total = total
                shown.update(count)

            index = VectorIndex.build(args.index, args.features, *options, progress)
        _say(f'{len(index)} {index.manifest["per"]} vectors of {index.manifest["dims"]} numbers')
        _say_recall(index.manifest['recall'])
        return 0
    index = open_index(args.index)
    if args.action == 'info':
        print(json.dumps(dict(index.manifest, columns=index.schema.names, alive=len(index))))
        return 0
    if not isinstance(index, VectorIndex):
        raise ValueError(
            f'{index.name} is a copy of an index: {args.action} takes the folder of the exact '
            'one, from which a new copy can be made'
        )
    if args.action == 'add':
        _say(f'{index.add(args.features, args.columns)} rows added')
    elif args.action == 'remove':
        _say(f'{index.remove(args.product_id)} rows removed')
    elif args.action == 'lance':
        from eclip_mm.index.lance import LanceIndex

        _say_recall(LanceIndex.build(args.folder, index).manifest['recall'])
    elif args.action == 'opensearch':
        _say(f'{write_bulk(index, args.file, args.name)} documents written')
    else:
        from eclip_mm.index.postgres import PostgresIndex

        table = PostgresIndex.build(args.dsn, args.table, index)
        _say_recall(table.manifest['recall'])
        table.close()
    return 0


def _parser(name: str) -> argparse.ArgumentParser:
    parser = part_parser(name, __doc__, BUILD)
    actions = parser.add_subparsers(dest='action', required=True)

    def action(key: str, what: str) -> argparse.ArgumentParser:
        added = actions.add_parser(key, help=what, description=what)
        added.add_argument('index', help=ADDRESS if key == 'info' else 'folder of the index')
        return added

    build = action('build', 'build or replace an index')
    add = action('add', 'add features; products that are there are replaced')
    for each in (build, add):
        each.add_argument('features', help='folder that embed has written')
        each.add_argument(
            '--columns',
            nargs='+',
            default=(),
            metavar='FILE',
            help='Parquet, CSV or JSON Lines with product_id and columns to filter by',
        )
    build.add_argument('--feature', choices=['image', 'instance', 'text'], default='image')
    build.add_argument(
        '--attributes',
        nargs='+',
        default=(),
        metavar='NAME',
        help='attributes of the catalogue to filter by, such as brand and price',
    )
    build.add_argument('--dtype', choices=['float32', 'float16'], default='float32')
    build.add_argument('--quiet', action='store_true', help='show no progress bar')
    action('remove', 'remove products').add_argument('product_id', nargs='+')
    action('info', 'print what the index is made of')
    bulk = action('opensearch', 'write bulk NDJSON for OpenSearch')
    bulk.add_argument('file', help='file to write')
    bulk.add_argument('--name', default='products', help='name of the index in OpenSearch')
    lance = action('lance', 'write a table of LanceDB with a graph; search takes it as an index')
    lance.add_argument('folder', help='folder of the table; it is replaced')
    table = action('postgres', 'write a table of PostgreSQL with a pgvector index')
    table.add_argument('table', help='name of the table; it is replaced')
    table.add_argument(
        '--dsn',
        default=os.environ.get('ECLIP_MM_DSN'),
        help='address of the database, postgresql://...; default: the variable ECLIP_MM_DSN',
    )
    return parser


def _say_recall(recall: dict) -> None:
    _say(
        f'recall@{recall["k"]} of {recall["queries"]} rows: {recall["all"]:.4f}; '
        f'among a hundredth of the rows: {recall["filtered"]:.4f}'
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
