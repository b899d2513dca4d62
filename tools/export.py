"""Write a trained model as one folder that others can use (docs/use.md).

    python tools/export.py CHECKPOINT my_model
    python tools/export.py CHECKPOINT my_model --metrics metrics.json --licence apache-2.0

The folder holds weights, config, tokenizer, their sha256 sums and a model card, and no code. It is
read again before it gets its name: it gives the vectors of the checkpoint, or is not there.
"""

import argparse

from eclip_mm.utils.command import CommandParser, run_command


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('folder', help='is made, and must not be there')
    parser.add_argument(
        '--metrics', metavar='JSON', help='metrics.json of tools/test.py, for the card'
    )
    parser.add_argument(
        '--licence',
        metavar='SPDX',
        help='licence of the weights, such as apache-2.0, for the card',
    )
    parser.add_argument('--force', action='store_true', help='replace an earlier export')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from eclip_mm.apis.model_export import export_model
    from eclip_mm.checkpoint.towers.folder import count_megabytes

    folder = export_model(
        args.checkpoint, args.folder, args.metrics, args.licence, replace=args.force
    )
    print(f'{folder}: {count_megabytes(folder):.1f} MB; README.md is its card')


if __name__ == '__main__':
    run_command(main)
