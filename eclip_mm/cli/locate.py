"""``eclip-mm locate``: boxes of named products in pictures, in pixels of the picture."""

from eclip_mm.cli.inputs import add_names, add_negatives, model_parser, positive, read_names, run

EXAMPLE = """examples:
  eclip-mm locate my_model shelf.jpg --names 'red mug' 'blue bowl'
  ls photos/*.jpg | jq -R . | eclip-mm locate my_model --jsonl - --names-file names.txt"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = model_parser(name, __doc__, EXAMPLE, 'path of a picture')
    add_names(parser, 'names of the products; they compete for the picture')
    parser.add_argument('--top-k', type=positive, default=1, help='boxes for a name, default: 1')
    parser.add_argument('--maps', action='store_true', help='add the score map of each name')
    parser.add_argument(
        '--boxes-of',
        choices=['map', 'regions'],
        default='map',
        help='cut boxes out of the score map (default), or take regions that follow edges',
    )
    add_negatives(parser)
    args = parser.parse_args(arguments)
    options = dict(top_k=args.top_k, maps=args.maps, boxes_of=args.boxes_of)
    return run(parser, args, 'locate', names=read_names(args), **options)
