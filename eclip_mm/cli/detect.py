"""``eclip-mm detect``: the objects in pictures, by the checkpoint of a detector of mmdet."""

from eclip_mm.cli.inputs import model_parser, positive, run

EXAMPLE = """example:
  eclip-mm detect my_detector.pth photos/*.jpg --score-thr 0.5 --names mug bowl"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = model_parser(name, __doc__, EXAMPLE, 'path of a picture')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='least score of an object, default: 0.3'
    )
    parser.add_argument('--top-k', type=positive, help='objects in a result, default: all')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='classes, default: all')
    args = parser.parse_args(arguments)
    options = dict(score_thr=args.score_thr, top_k=args.top_k, names=args.names)
    return run(parser, args, 'detect', **options)
