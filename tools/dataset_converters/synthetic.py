"""Write the generated catalogue: train, photos and products as Parquet.

    python tools/dataset_converters/synthetic.py data/synthetic \\
        --num-products 20000 --image-size 224 --num-workers 8
"""

import argparse

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command

# the fields of SyntheticCatalogueConfig, which has their defaults
OPTIONS = {
    **dict(num_products=int, num_heldout_products=int, merchant=int, comment=int, video=int),
    **dict(heldout_photos=int, max_photo_products=int, image_size=int, image_format=str),
    **dict(attributes=str, num_shapes=int, num_colours=int, num_others=int),
    **dict(object_scale=float, seed=int),
}
SEVERAL = ('attributes', 'num_others', 'object_scale')


def parse_args():
    parser = CommandParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('out_dir', help='folder for train, photos and products.parquet')
    parser.add_argument('--num-workers', type=int, default=2, help='number of rendering processes')
    for name, kind in OPTIONS.items():
        parser.add_argument(
            '--' + name.replace('_', '-'),
            type=kind,
            default=argparse.SUPPRESS,
            nargs='*' if name in SEVERAL else None,
            help='see SyntheticCatalogueConfig',
        )
    return parser.parse_args()


def main():
    values = vars(parse_args())
    from eclip_mm.datasets.synthetic import SyntheticCatalogueConfig, write_synthetic_catalogue

    out_dir, num_workers = values.pop('out_dir'), values.pop('num_workers')
    paths = write_synthetic_catalogue(
        SyntheticCatalogueConfig(**values),
        out_dir,
        num_workers,
        progress=lambda rows: tqdm(rows, desc='products', unit='row'),
    )
    print('\n'.join(map(str, paths.values())))


if __name__ == '__main__':
    run_command(main)
