"""Fetch the pictures that a feed names by URL, for feed.py; run it again to continue.

python tools/dataset_converters/fetch_pictures.py products_export.csv
"""

from tqdm import tqdm

from eclip_mm.utils.arguments import add_feed_arguments
from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    add_feed_arguments(parser)
    parser.add_argument('--out', help='folder (default: {stem}_pictures beside the source)')
    parser.add_argument('--num-workers', type=int, default=16, help='requests at a time')
    parser.add_argument('--per-host', type=int, default=4, help='requests at a time to one host')
    parser.add_argument(
        '--delay', type=float, default=0.0, help='seconds between the requests of one such series'
    )
    parser.add_argument('--timeout', type=float, default=20.0, help='seconds without an answer')
    parser.add_argument('--max-seconds', type=float, default=60.0, help='longest time of a try')
    parser.add_argument('--max-mib', type=float, default=20.0, help='largest picture')
    parser.add_argument('--tries', type=int, default=3, help='tries of each picture')
    parser.add_argument(
        '--retry', action='store_true', help='try again what an earlier run has given up'
    )
    parser.add_argument(
        '--allow-host',
        nargs='+',
        default=(),
        metavar='HOST',
        help='hosts that may have addresses that are not public, such as a server of your own',
    )
    args = parser.parse_args()
    from eclip_mm.datasets.converters.feed import (
        FetchOptions,
        default_folder,
        fetch_pictures,
        open_feed,
    )

    options = FetchOptions(
        num_workers=args.num_workers,
        per_host=args.per_host,
        delay=args.delay,
        timeout=args.timeout,
        max_seconds=args.max_seconds,
        max_bytes=int(args.max_mib * 2**20),
        tries=args.tries,
        allowed_hosts=args.allow_host,
    )
    urls = open_feed(args).picture_urls()
    folder = args.out or default_folder(args.source)
    report = fetch_pictures(
        urls,
        folder,
        options,
        args.retry,
        progress=lambda results: tqdm(results, total=len(urls), unit=' URLs', mininterval=1),
    )
    print(f'{folder}: {report}')


if __name__ == '__main__':
    run_command(main)
