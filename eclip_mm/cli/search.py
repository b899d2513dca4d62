"""``eclip-mm search``: search an index by words, photo, product or vectors; prints JSON Lines."""

import json

from eclip_mm.cli.inputs import ADDRESS
from eclip_mm.utils.command import part_parser

EXAMPLE = """examples:
  eclip-mm search my/index --like PRODUCT_ID -k 5 --where category=shoes 'price<20'
  eclip-mm search my/index 'red shoes' photo.jpg --model CHECKPOINT"""


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = part_parser(name, __doc__, EXAMPLE)
    parser.add_argument('index', help=ADDRESS)
    parser.add_argument('query', nargs='*', help='words, or a picture file; needs --model')
    parser.add_argument('--model', help='checkpoint, or folder of an exported model')
    parser.add_argument('--like', metavar='PRODUCT_ID', help='search by the vectors of a product')
    parser.add_argument('--vectors', metavar='FILE', help='search by the rows of a .npy file')
    parser.add_argument('-k', type=int, default=10, help='number of hits')
    parser.add_argument(
        '--where',
        nargs='+',
        metavar='CONDITION',
        help='conditions such as price<20; all must hold',
    )
    parser.add_argument(
        '--per', choices=['product', 'row'], default='product', help='one hit for each'
    )
    args = parser.parse_args(arguments)
    if (bool(args.query), args.like is not None, args.vectors is not None).count(True) != 1:
        parser.error('search by words and pictures, by --like, or by --vectors')
    if bool(args.query) != bool(args.model):
        parser.error('words and pictures need --model, and --model needs them')
    _search(args)
    return 0


def _search(args) -> None:
    import numpy as np

    from eclip_mm.index import encoded_queries, open_index

    index = open_index(args.index)
    if args.query:
        from eclip_mm.apis import Eclip

        found = encoded_queries(Eclip(args.model), args.query)
    else:
        by_file = args.vectors is not None
        found = dict(vectors=np.load(args.vectors) if by_file else index.vectors_of(args.like))
    for query, hits in enumerate(index.search(**found, k=args.k, where=args.where, per=args.per)):
        for rank, hit in enumerate(hits, 1):
            print(json.dumps(dict(query=query, rank=rank, **hit), ensure_ascii=False, default=str))
