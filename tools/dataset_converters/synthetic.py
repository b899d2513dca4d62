"""Write the generated catalogue: train, photos and products as Parquet.

    python tools/dataset_converters/synthetic.py data/synthetic \\
        --num-products 20000 --image-size 224 --num-workers 8
"""

import argparse
import dataclasses

from tqdm import tqdm

from eclip_mm.datasets.synthetic import SyntheticCatalogueConfig, write_synthetic_catalogue


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('out_dir', help='folder for train, photos and products.parquet')
    parser.add_argument('--num-workers', type=int, default=2, help='number of rendering processes')
    for field in dataclasses.fields(SyntheticCatalogueConfig):
        several = isinstance(field.default, tuple)
        kind = type(field.default[0]) if several else type(field.default)
        parser.add_argument(
            '--' + field.name.replace('_', '-'),
            type=kind,
            default=field.default,
            nargs='*' if several else None,
            help=' ',
        )
    return parser.parse_args()


def main():
    values = vars(parse_args())
    out_dir, num_workers = values.pop('out_dir'), values.pop('num_workers')
    paths = write_synthetic_catalogue(
        SyntheticCatalogueConfig(**values),
        out_dir,
        num_workers,
        progress=lambda rows: tqdm(rows, desc='products', unit='row'),
    )
    print('\n'.join(map(str, paths.values())))


if __name__ == '__main__':
    main()
