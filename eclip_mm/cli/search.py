"""``eclip-mm search``: search an index by words, photo, product or vectors; prints JSON Lines."""

from collections.abc import Iterator
from itertools import islice

from eclip_mm.cli.inputs import ADDRESS, Given, add_jsonl, exit_code, print_line, read_inputs
from eclip_mm.utils.command import part_parser

EXAMPLE = """examples:
  eclip-mm search my/index --like PRODUCT_ID -k 5 --where category=shoes 'price<20'
  eclip-mm search my/index 'red shoes' photo.jpg --model CHECKPOINT
  eclip-mm search my/index --jsonl queries.jsonl --model CHECKPOINT > hits.jsonl"""
#: queries that are in memory
BATCH = 64


def main(arguments: list[str], name: str) -> int:
    """Run the command; returns the exit code."""
    parser = part_parser(name, __doc__, EXAMPLE)
    parser.add_argument('index', help=ADDRESS)
    parser.add_argument('query', nargs='*', help='words, or a picture file; needs --model')
    add_jsonl(parser)
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
    ways = (args.query, args.jsonl, args.like is not None, args.vectors is not None)
    if list(map(bool, ways)).count(True) != 1:
        parser.error('search by words and pictures, by --jsonl, by --like, or by --vectors')
    if bool(args.query or args.jsonl) != bool(args.model):
        parser.error('words, pictures and --jsonl need --model, and --model needs them')
    return exit_code(name, sum('error' in line for line in map(_print, _search(args))))


def _print(line: dict) -> dict:
    print_line(line)
    return line


def _search(args) -> Iterator[dict]:
    """A dict of each hit, and of each query that cannot be used."""
    import numpy as np

    from eclip_mm.index import open_index

    index = open_index(args.index)
    options = dict(k=args.k, where=args.where, per=args.per)
    if args.model:
        from eclip_mm.apis import Eclip

        eclip = Eclip(args.model)
        options['checkpoint_sha256'] = eclip.checkpoint['sha256']
        given = read_inputs(args.query, args.jsonl)
        start = 0
        while batch := list(islice(given, BATCH)):
            yield from _of_batch(index, eclip, batch, start, bool(args.jsonl), options)
            start += len(batch)
        return
    by_file = args.vectors is not None
    vectors = np.load(args.vectors) if by_file else index.vectors_of(args.like)
    for query, hits in enumerate(index.search(vectors, **options)):
        yield from _lines(hits, query=query)


def _of_batch(
    index, eclip, batch: list[Given], start: int, named: bool, options
) -> Iterator[dict]:
    from eclip_mm.index import encode_each

    good = [given.value for given in batch if given.error is None]
    encoded = iter(encode_each(eclip, good, index.manifest['feature']))
    found = [next(encoded) if g.error is None else dict(error=g.error) for g in batch]
    vectors = [result['vector'] for result in found if 'vector' in result]
    hits = iter(index.search(vectors, **options) if vectors else ())
    for query, (given, result) in enumerate(zip(batch, found, strict=True), start):
        about = dict(query=query, **(dict(id=given.id) if named else {}))
        if 'error' in result:
            yield dict(about, error=result['error'])
        else:
            yield from _lines(next(hits), **about)


def _lines(hits: list[dict], **about) -> Iterator[dict]:
    return (dict(about, rank=rank, **hit) for rank, hit in enumerate(hits, 1))
