"""Convert the boxes of a catalogue to a COCO detection file and a folder of pictures."""

import argparse
import sys

from tqdm import tqdm

from eclip_mm.datasets import CatalogueError
from eclip_mm.datasets.converters import convert_catalogue_boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('catalogue', help='.parquet or .jsonl catalogue with boxes')
    parser.add_argument('annotations', help='COCO JSON to write')
    parser.add_argument('image_dir', help='folder to write the pictures to')
    parser.add_argument(
        '--classes',
        choices=['product', 'category', 'object'],
        default='product',
        help='what becomes a COCO category (default: product)',
    )
    parser.add_argument(
        '--products',
        help='catalogue that lists the products, the same for training and evaluation '
        '(default: the catalogue itself)',
    )
    args = parser.parse_args()
    try:
        report = convert_catalogue_boxes(
            **vars(args), progress=lambda rows: tqdm(rows, unit=' rows', mininterval=1)
        )
    except CatalogueError as error:
        sys.exit(f'error: {error}')
    print(f'{args.annotations}: {report}')


if __name__ == '__main__':
    main()
