"""``eclip-mm classify``: which of several names a picture as a whole fits best."""

from eclip_mm.cli.inputs import add_names, model_parser, positive, read_names, run

EXAMPLE = """example:
  eclip-mm classify my_model photos/*.jpg --names mug bowl plate --top-k 1"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = model_parser(name, __doc__, EXAMPLE, 'path of a picture')
    add_names(parser, 'names of the classes')
    parser.add_argument('--template', default='{}', help="such as 'a photo of {}'")
    parser.add_argument(
        '--top-k', type=positive, help='number of classes in a result, default: all'
    )
    args = parser.parse_args(arguments)
    options = dict(template=args.template, top_k=args.top_k)
    return run(parser, args, 'classify', names=read_names(args), **options)
