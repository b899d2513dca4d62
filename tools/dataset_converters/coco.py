"""Convert COCO boxes and product names to a catalogue with a product for each category."""

from tqdm import tqdm

from eclip_mm.utils.command import CommandParser, run_command


def main() -> None:
    parser = CommandParser(description=__doc__)
    parser.add_argument('annotations', help='COCO detection JSON')
    parser.add_argument('image_root', help='folder that file_name is relative to')
    parser.add_argument('target', help='.parquet (pictures inside) or .jsonl (paths) to write')
    parser.add_argument(
        '--products',
        help='JSON list of {product_id, name, ...}; name is the category name '
        '(default: the category id is the product id)',
    )
    parser.add_argument(
        '--text', default='{name}', help="template of the product text (default: '{name}')"
    )
    parser.add_argument('--source', default='video', help='source of the pictures')
    parser.add_argument(
        '--pictures',
        choices=['frames', 'crops', 'both'],
        default='frames',
        help='store whole frames, a cut-out for each box, or both (default: frames)',
    )
    parser.add_argument(
        '--min-crop', type=int, default=16, help='shortest side of a cut-out (default: 16)'
    )
    parser.add_argument(
        '--rows',
        choices=['products', 'frames'],
        default='products',
        help='a row of the catalogue is a product, or a frame whose text names the products '
        'in it (default: products)',
    )
    parser.add_argument(
        '--min-products',
        type=int,
        default=1,
        help='with --rows frames: leave out frames with fewer products (default: 1)',
    )
    parser.add_argument(
        '--max-size',
        type=int,
        default=0,
        help='longest side of the stored pictures; 0 keeps them as they are (default: 0)',
    )
    parser.add_argument(
        '--boxes',
        choices=['auto', 'stored', 'seen'],
        default='auto',
        help='picture that the boxes are of where a photo has an EXIF orientation: as stored, as '
        'seen in a viewer, or whichever has the width and height of the file (default: auto)',
    )
    parser.add_argument('--quality', type=int, default=90, help='JPEG quality (default: 90)')
    args = vars(parser.parse_args())
    from eclip_mm.datasets.converters import convert_coco

    args['max_size'] = args['max_size'] or None
    report = convert_coco(
        **args, progress=lambda products: tqdm(products, unit=' products', mininterval=1)
    )
    print(f'{args["target"]}: {report}')


if __name__ == '__main__':
    run_command(main)
