"""What the commands that run a model share: inputs, and one line for each of them."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from eclip_mm.utils.command import CommandParser, part_parser

KEYS = ('id', 'image', 'text')


def model_parser(name: str, about: str, example: str, inputs: str) -> CommandParser:
    """A parser with the model, the inputs and how they are run.

    Args:
        name: of the command.
        about: what it does.
        example: shown below the options.
        inputs: what an input is, for the help.
    """
    parser = part_parser(name, about, example)
    parser.add_argument('model', help='folder of an exported model, or checkpoint')
    parser.add_argument('inputs', nargs='*', metavar='input', help=inputs)
    parser.add_argument(
        '--jsonl',
        metavar='FILE',
        help='inputs as JSON Lines; - reads standard input. A line is a string as above,\n'
        'or an object with image (a path), text, or both, and with id, which its result\n'
        'repeats',
    )
    parser.add_argument('--batch-size', type=positive, default=32, help='default: 32')
    parser.add_argument('--device', help='such as cuda:1; default: a GPU if there is one')
    parser.add_argument(
        '--backend',
        choices=['torch', 'onnx'],
        default='torch',
        help='onnx runs the graphs of a folder that export --onnx has written',
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress bar')
    return parser


def add_names(parser: argparse.ArgumentParser, what: str, required: bool = True) -> None:
    """Add ``--names`` and ``--names-file``, of which one must be there if they are required."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument('--names', nargs='+', metavar='NAME', help=what)
    group.add_argument('--names-file', metavar='FILE', help='file with a name on each line')


def add_negatives(parser: argparse.ArgumentParser) -> None:
    """Add ``--negatives``."""
    parser.add_argument(
        '--negatives',
        metavar='FILE',
        help='file with a name on each line, such as those of the catalogue: the negative\n'
        'queries, which a model that was trained with CatalogueNegatives needs',
    )


def read_names(args: argparse.Namespace) -> list[str]:
    """The names of :func:`add_names`.

    Raises:
        ValueError: the file has none.
    """
    return args.names or names_in(args.names_file)


def names_in(path: str) -> list[str]:
    """The names in a file, one on each line.

    Raises:
        ValueError: there are none.
    """
    lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f'{path} has no name')
    return names


def run(parser: CommandParser, args: argparse.Namespace, task: str, **options) -> int:
    """Print a JSON object for each input, in their order.

    It has ``id``, which is the input itself where it has no other, and what the method of
    ``Eclip`` gives. An input that cannot be used has ``error`` instead.

    Returns:
        Exit code: 3 if an input has ``error``, else 0.
    """
    if bool(args.inputs) == bool(args.jsonl):
        parser.error('give inputs, or --jsonl, and not both')
    from tqdm import tqdm

    from eclip_mm.apis import Eclip
    from eclip_mm.utils.memory import reuse_freed_memory

    reuse_freed_memory()
    file = getattr(args, 'negatives', None)
    negatives = names_in(file) if file else None
    eclip = Eclip(args.model, args.device, args.backend, negatives)
    ids: list = []

    def values() -> Iterator:
        for key, value in _read(args.inputs, args.jsonl):
            ids.append(key)
            yield value

    total = len(args.inputs) if args.inputs else None
    results = eclip.stream(values(), task, batch_size=args.batch_size, **options)
    failed = 0
    # no bar where nobody sees it (disable=None)
    for result in tqdm(results, task, total, disable=args.quiet or None, unit='input'):
        failed += 'error' in result
        print(json.dumps(dict(id=ids.pop(0), **result), ensure_ascii=False))
    if failed:
        print(f'{parser.prog}: inputs without a result: {failed}, see "error"', file=sys.stderr)
    return 3 if failed else 0


def _read(inputs: list[str], path: str | None) -> Iterator[tuple[object, object]]:
    """Id and value of each input."""
    if path is None:
        yield from ((value, value) for value in inputs)
    elif path == '-':
        yield from _parse(sys.stdin, 'standard input')
    else:
        with open(path, encoding='utf-8-sig') as file:
            yield from _parse(file, path)


def _parse(lines: Iterable[str], origin: str) -> Iterator[tuple[object, object]]:
    """
    Raises:
        ValueError: a line is not JSON, or neither a string nor an object of :data:`KEYS`.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f'{origin}, line {number} is not JSON: {error}') from error
        if isinstance(value, str):
            yield value, value
            continue
        if not isinstance(value, dict) or not value.keys() & {'image', 'text'}:
            raise ValueError(
                f'{origin}, line {number}: write a string, or an object with image, text or both'
            )
        if unknown := sorted(value.keys() - set(KEYS)):
            known = ', '.join(KEYS)
            raise ValueError(
                f'{origin}, line {number}: unknown key {unknown[0]!r}; known: {known}'
            )
        yield value.pop('id', dict(value)), value


def positive(text: str) -> int:
    """A whole number of at least 1, as ``type`` of an argument."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'a number of at least 1, got {text!r}')
    return int(text)
