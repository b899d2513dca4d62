"""Split a catalogue into {stem}_train and {stem}_val, by product or by picture.

    python tools/dataset_converters/split.py my/catalogue.jsonl --val 0.1 --by picture

--by product keeps whole products out of training: is the model good for new products?
--by picture keeps pictures of the trained products out: does it recognise them in new photos?
"""

import argparse

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='catalogue: .jsonl, .parquet or a folder of .parquet')
    parser.add_argument(
        '--val', type=float, default=0.1, help='share that goes to validation (default: 0.1)'
    )
    parser.add_argument('--by', choices=['product', 'picture'], default='product')
    parser.add_argument('--out-dir', help='folder for both files (default: that of the source)')
    parser.add_argument('--seed', type=int, default=0, help='for another division (default: 0)')
    args = parser.parse_args()
    from eclip_mm.datasets.converters import split_catalogue

    report = split_catalogue(
        **vars(args), progress=lambda rows: tqdm(rows, unit=' products', mininterval=1)
    )
    print(report)


if __name__ == '__main__':
    run_command(main)
