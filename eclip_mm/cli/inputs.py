"""What the commands that run a model share: inputs, and one line for each of them."""

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eclip_mm.utils.command import CommandParser, part_parser

KEYS = ('id', 'image', 'text')
#: what `open_index` takes, for the help
ADDRESS = 'folder of an index, or postgresql://HOST/DATABASE#TABLE'


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
    add_jsonl(parser)
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


def add_jsonl(parser: argparse.ArgumentParser) -> None:
    """Add ``--jsonl``."""
    parser.add_argument(
        '--jsonl',
        metavar='FILE',
        help='inputs as JSON Lines; - reads standard input. A line is a string as above,\n'
        'or an object with image (a path), text, or both, and with id, which its result\n'
        'repeats',
    )


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
    from eclip_mm.apis import Eclip

    file = getattr(args, 'negatives', None)
    negatives = names_in(file) if file else None
    eclip = Eclip(args.model, args.device, args.backend, negatives)
    waiting: deque[Given] = deque()

    def values() -> Iterator:
        for given in read_inputs(args.inputs, args.jsonl):
            waiting.append(given)
            if given.error is None:
                yield given.value

    def results() -> Iterator[dict]:
        """Those of the model, with those of bad lines in their places."""
        for result in eclip.stream(values(), task, batch_size=args.batch_size, **options):
            yield from _failed(waiting)
            yield dict(id=waiting.popleft().id, **result)
        yield from _failed(waiting)

    failed = 0
    with bar(task, 'input', len(args.inputs) or None, args.quiet) as shown:
        for result in results():
            failed += 'error' in result
            print_line(result)
            shown.update()
    return exit_code(parser.prog, failed)


def bar(what: str, unit: str, total: int | None, quiet: bool = False):
    """A progress bar on standard error; none where nobody sees it, or where lines would break it.

    Args:
        what: what is done.
        unit: what is counted.
        total: how many; None if that is not known.
        quiet: show none anywhere.
    """
    from tqdm import tqdm

    hidden = True if quiet or sys.stdout.isatty() else None  # None: where no terminal is
    return tqdm(desc=what, total=total, unit=unit, disable=hidden)


def print_line(result: dict) -> None:
    """Print one JSON object; what the terminal or file cannot hold is escaped."""
    line = json.dumps(result, ensure_ascii=False, default=str)
    try:
        line.encode(sys.stdout.encoding or 'utf-8')
    except UnicodeEncodeError:
        line = json.dumps(result, default=str)
    print(line)


def exit_code(prog: str, failed: int) -> int:
    """3 if inputs have failed, which standard error says, else 0."""
    if failed:
        print(f'{prog}: inputs without a result: {failed}, see "error"', file=sys.stderr)
    return 3 if failed else 0


@dataclass
class Given:
    """One input of a command.

    Attributes:
        id: what its result repeats; None of a line that cannot be read.
        value: as ``Eclip`` takes it.
        error: why there is none; None if there is one.
    """

    id: object
    value: object = None
    error: str | None = None


def read_inputs(inputs: list[str], path: str | None) -> Iterator[Given]:
    """The inputs: arguments, or JSON Lines of a file; ``-`` is standard input."""
    if path is None:
        yield from (Given(value, value) for value in inputs)
    elif path == '-':
        if hasattr(sys.stdin, 'reconfigure'):
            sys.stdin.reconfigure(encoding='utf-8-sig', errors='surrogateescape')
        yield from _parse(sys.stdin, 'standard input')
    else:
        with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
            yield from _parse(file, path)


def _failed(waiting: deque[Given]) -> Iterator[dict]:
    """The results of bad lines before the next good one."""
    while waiting and waiting[0].error is not None:
        given = waiting.popleft()
        yield dict(id=given.id, error=given.error)


def _parse(lines: Iterable[str], origin: str) -> Iterator[Given]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _parse_line(line)
            except _BadLine as error:
                yield Given(error.id, error=f'{origin}, line {number}: {error}')


class _BadLine(ValueError):
    def __init__(self, reason: str, id: object = None) -> None:  # noqa: A002
        super().__init__(reason)
        self.id = id


def _parse_line(line: str) -> Given:
    """
    Raises:
        _BadLine: the line is not JSON, or neither a string nor an object of :data:`KEYS`.
    """
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise _BadLine('it is not UTF-8') from error
    try:
        value = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _BadLine(f'it is not JSON ({error})') from error
    if isinstance(value, str):
        return Given(value, value)
    if not isinstance(value, dict) or not value.keys() & {'image', 'text'}:
        name = value.get('id', value) if isinstance(value, dict) else value
        raise _BadLine('write a string, or an object with image, text or both', name)
    name = value.pop('id', dict(value))
    if unknown := sorted(value.keys() - set(KEYS)):
        raise _BadLine(f'unknown key {unknown[0]!r}; known: {", ".join(KEYS)}', name)
    return Given(name, value)


def _no_number(word: str) -> None:
    raise ValueError(f'{word} is no number in JSON')


def positive(text: str) -> int:
    """A whole number of at least 1, as ``type`` of an argument."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'a number of at least 1, got {text!r}')
    return int(text)
