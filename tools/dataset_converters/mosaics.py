"""Put photos of one product each together, with a box for each: grounding without annotation.

python tools/dataset_converters/mosaics.py data/grocery/val.parquet data/grocery/mosaics.parquet
"""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    parser.add_argument('catalogue', help='catalogue whose photos show one product each')
    parser.add_argument('target', help='.parquet to write')
    parser.add_argument('--sources', nargs='+', help='use only photos of these sources')
    parser.add_argument('--grid', type=int, default=2, help='cells per side (default: 2)')
    parser.add_argument('--cell-size', type=int, default=72, help='pixels per side (default: 72)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: 0)')
    args = parser.parse_args()
    from eclip_mm.datasets.converters import write_mosaics

    written, problems = write_mosaics(
        **vars(args), progress=lambda rows: tqdm(rows, desc='products')
    )
    for problem in problems:
        print(f'left out: {problem}')
    print(f'{args.target}: {written} mosaics')


if __name__ == '__main__':
    run_command(main)
