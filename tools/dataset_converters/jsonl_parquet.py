"""Convert a catalogue between JSON Lines and Parquet, as the suffixes say."""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__)
    parser.add_argument('source', help='catalogue: .jsonl(.gz), .parquet or a folder of .parquet')
    parser.add_argument('target', help='.jsonl or .parquet file to write')
    parser.add_argument(
        '--image-dir',
        help='folder for pictures if the target is JSON Lines (default: {stem}_images beside it)',
    )
    parser.add_argument(
        '--strict', action='store_true', help='stop at the first row that cannot be used'
    )
    parser.add_argument(
        '--group-mib',
        type=float,
        default=1,
        help='size of the row groups of a Parquet target (default: 1, for reading at random; '
        'use 4 to 64 for ProductStream)',
    )
    parser.add_argument(
        '--no-check',
        action='store_true',
        help='copy pictures without decoding them, which is faster; broken ones are then found '
        'when they are used',
    )
    parser.add_argument(
        '--keep-text',
        action='store_true',
        help='copy texts as they are; otherwise HTML, invisible characters and what exceeds 2,000 '
        'characters are removed, and products without a word left out',
    )
    args = parser.parse_args()
    from eclip_mm.datasets.converters import convert_carrier

    report = convert_carrier(
        args.source,
        args.target,
        image_dir=args.image_dir,
        strict=args.strict,
        keep_text=args.keep_text,
        group_bytes=int(args.group_mib * 2**20),
        check_pictures=not args.no_check,
        progress=lambda rows: tqdm(rows, unit=' products', mininterval=1),
    )
    print(f'{args.target}: {report}')


if __name__ == '__main__':
    run_command(main)
