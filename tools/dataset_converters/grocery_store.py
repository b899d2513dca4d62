"""Convert a clone of the GroceryStoreDataset to train.parquet and val.parquet."""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__)
    parser.add_argument('root', help='folder GroceryStoreDataset (or its folder dataset)')
    parser.add_argument('out_dir', help='folder for the .parquet files')
    parser.add_argument(
        '--max-size',
        type=int,
        default=256,
        help='longest side of the stored pictures; 0 keeps them as they are (default: 256)',
    )
    parser.add_argument('--quality', type=int, default=90, help='JPEG quality (default: 90)')
    args = parser.parse_args()
    from eclip_mm.datasets.converters import convert_grocery_store

    report = convert_grocery_store(
        args.root,
        args.out_dir,
        max_size=args.max_size or None,
        quality=args.quality,
        progress=lambda products: tqdm(products, unit=' products', mininterval=1),
    )
    print(report)


if __name__ == '__main__':
    run_command(main)
