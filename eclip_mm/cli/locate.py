"""``eclip-mm locate``: boxes of named products in pictures, in pixels of the picture."""

from eclip_mm.cli.inputs import add_names, add_negatives, model_parser, positive, read_names, run
from eclip_mm.cli.pseudo_boxes import add_coco, check_unused, write_coco

EXAMPLE = """examples:
  eclip-mm locate my_model shelf.jpg --names 'red mug' 'blue bowl'
  ls photos/*.jpg | jq -R . | eclip-mm locate my_model --jsonl - --names-file names.txt
  eclip-mm locate my_model my/catalogue.parquet --coco boxes.json --labelled few.json
  eclip-mm locate my_model photos/ --coco boxes.json --names mug bowl --threshold 0.3"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = model_parser(
        name, __doc__, EXAMPLE, 'path of a picture; with --coco a catalogue or a folder'
    )
    add_names(parser, 'names of the products; they compete for the picture', required=False)
    parser.add_argument('--top-k', type=positive, default=1, help='boxes for a name, default: 1')
    parser.add_argument('--maps', action='store_true', help='add the score map of each name')
    parser.add_argument(
        '--boxes-of',
        choices=['map', 'regions'],
        default='map',
        help='cut boxes out of the score map (default), or take regions that follow edges',
    )
    add_negatives(parser)
    add_coco(parser)
    args = parser.parse_args(arguments)
    if args.coco:
        return write_coco(parser, args)
    check_unused(parser, args)
    if not (args.names or args.names_file):
        parser.error('give --names or --names-file')
    options = dict(top_k=args.top_k, maps=args.maps, boxes_of=args.boxes_of)
    return run(parser, args, 'locate', names=read_names(args), **options)
