"""Convert the boxes of a catalogue to a COCO detection file and a folder of pictures."""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__)
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
    from eclip_mm.datasets.converters import convert_catalogue_boxes

    report = convert_catalogue_boxes(
        **vars(args), progress=lambda rows: tqdm(rows, unit=' rows', mininterval=1)
    )
    print(f'{args.annotations}: {report}')


if __name__ == '__main__':
    run_command(main)
