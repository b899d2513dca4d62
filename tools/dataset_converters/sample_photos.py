"""Write sample_photos/, the real photos in this repository, from the two data sets they are of.

D=/path/to/datasets
python tools/dataset_converters/sample_photos.py $D/GroceryStoreDataset $D/snacks sample_photos
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('grocery_store', help='folder GroceryStoreDataset')
    parser.add_argument('snacks', help='folder with annotations/, images/ and products.json')
    parser.add_argument('out_dir', help='folder for grocery/ and snacks/')
    args = parser.parse_args()
    from eclip_mm.datasets.converters import write_sample_photos

    written = write_sample_photos(
        **vars(args), progress=lambda rows: tqdm(rows, unit=' rows', mininterval=1)
    )
    for name, (products, pictures) in written.items():
        size = (Path(args.out_dir) / name).stat().st_size
        print(f'{name}: {products} products, {pictures} pictures, {size / 1e6:.2f} MB')


if __name__ == '__main__':
    run_command(main)
