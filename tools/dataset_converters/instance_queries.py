"""Write the photos of a catalogue that show several products as queries (Table 3).

python tools/dataset_converters/instance_queries.py data/synthetic/photos.parquet \\
    data/synthetic/queries.parquet --texts-from data/synthetic/train.parquet
"""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__.split('\n')[0])
    parser.add_argument('catalogue', help='catalogue whose photos have boxes')
    parser.add_argument('target', help='.parquet to write')
    parser.add_argument(
        '--texts-from', nargs='*', default=(), help='further catalogues with products of the boxes'
    )
    parser.add_argument('--sources', nargs='+', help='use only photos of these sources')
    parser.add_argument(
        '--min-products', type=int, default=2, help='leave out photos with fewer products'
    )
    args = parser.parse_args()
    from eclip_mm.datasets.converters import write_instance_queries

    written, left_out = write_instance_queries(
        **vars(args), progress=lambda rows: tqdm(rows, desc='products')
    )
    print(f'{args.target}: {written} photos written, {left_out} with fewer products left out')


if __name__ == '__main__':
    run_command(main)
