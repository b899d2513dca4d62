"""Convert the export of a shop (CSV, TSV, Excel, JSON, Parquet) to a catalogue; see docs/feeds.md.

python tools/dataset_converters/feed.py products_export.csv data/shop/train.parquet
"""

from tqdm import tqdm

from eclip_mm.utils.arguments import add_feed_arguments
from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    add_feed_arguments(parser)
    parser.add_argument(
        'target', nargs='?', help='.parquet (pictures inside) or .jsonl (paths) to write'
    )
    parser.add_argument(
        '--show', action='store_true', help='print the mapping as YAML, and write nothing'
    )
    parser.add_argument(
        '--picture-root',
        nargs='+',
        default=(),
        metavar='ROOT',
        help='folders and archives (.zip, .tar, .tar.gz) that paths of pictures are relative to '
        '(default: the folder of the source)',
    )
    parser.add_argument(
        '--fetched',
        metavar='FOLDER',
        help='folder of fetch_pictures.py (default: {stem}_pictures beside the source)',
    )
    parser.add_argument('--max-words', type=int, help='longest text (default: any length)')
    parser.add_argument(
        '--max-size',
        type=int,
        default=0,
        help='longest side of the stored pictures; 0 keeps them as they are (default: 0)',
    )
    parser.add_argument('--quality', type=int, default=90, help='JPEG quality (default: 90)')
    args = parser.parse_args()
    from eclip_mm.datasets.converters.feed import convert_feed, open_feed

    if args.target is None and not args.show:
        parser.error('name the target, or give --show')
    feed = open_feed(args)
    print(f'# {feed.table.name}: {len(feed.table.rows)} rows')
    print(feed.mapping.to_yaml(), flush=True)
    if args.show:
        return
    report = convert_feed(
        feed,
        args.target,
        args.picture_root,
        args.fetched,
        max_words=args.max_words,
        max_size=args.max_size or None,
        quality=args.quality,
        progress=lambda products: tqdm(products, unit=' products', mininterval=1),
    )
    print(f'{args.target}: {report}')


if __name__ == '__main__':
    run_command(main)
