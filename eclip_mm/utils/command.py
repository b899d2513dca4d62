"""What all programs of ``tools/`` share: how they read arguments and how they fail.

This module must not import torch or mmengine, so that ``--help`` answers at once.
"""

import argparse
import re
import sys
from collections.abc import Callable

from eclip_mm.utils.memory import reuse_freed_memory

#: exit code after Ctrl-C, as shells have it
INTERRUPTED = 130
# Errors by which the package, Python and libraries say what is wrong with an input.
SAYS_WHAT = (ValueError, KeyError, OSError, ImportError)
# mmengine puts the classes that it was building before a message; the last one is enough.
_BUILT = re.compile(r'(?:class `\w+` in [\w./\\-]+: )*(class `(\w+)` in [\w./\\-]+: )')
# torch puts the traceback of a worker process into the message.
_OF_WORKER = re.compile(r'.*Original Traceback \(most recent call last\):.*\n(?=[\w.]+: )', re.S)


class CommandParser(argparse.ArgumentParser):
    """A parser with ``--traceback``, for programs that :func:`run_command` runs."""

    wants_traceback = False

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        CommandParser.wants_traceback = False
        self.add_argument(
            '--traceback',
            action=_WantTraceback,
            help='show where in the program an error is raised',
        )


def part_parser(name: str, about: str, example: str) -> CommandParser:
    """The parser of a part of ``eclip-mm``.

    Args:
        name: such as ``eclip-mm search``.
        about: what it does.
        example: shown below the options.
    """
    return CommandParser(
        name, description=about, epilog=example, formatter_class=argparse.RawTextHelpFormatter
    )


class _WantTraceback(argparse.Action):
    """Notes the option, and leaves the arguments as they are."""

    def __init__(self, option_strings, dest, **kwargs) -> None:
        hidden = argparse.SUPPRESS
        super().__init__(option_strings, dest=hidden, default=hidden, nargs=0, **kwargs)

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        CommandParser.wants_traceback = True


def run_command(main: Callable[[], None], interrupted: str = 'interrupted') -> None:
    """Run a program; an error ends it with what, where and what to do, in one or a few lines.

    Args:
        main: the program, which reads its arguments by a :class:`CommandParser`.
        interrupted: what Ctrl-C prints.

    Raises:
        SystemExit: the program ends, with an error or on Ctrl-C.
        Exception: an error, where ``--traceback`` is given.
    """
    reuse_freed_memory()
    try:
        main()
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if CommandParser.wants_traceback:
            raise
        sys.exit(f'error: {error_text(error)}')


def error_text(error: Exception, plain: tuple[type, ...] = ()) -> str:
    """:func:`describe_error`, and how to see more.

    Args:
        error: an error.
        plain: types that say enough, beside those of this package.
    """
    enough = _is_own(error) or isinstance(error, plain)
    hint = '' if enough else '\n(--traceback shows where it was raised)'
    return describe_error(error) + hint


def describe_error(error: Exception) -> str:
    """The message of an error, with its type where the message alone says too little."""
    # the text of a KeyError is the repr of its message
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    message = _OF_WORKER.sub('', str(message)).strip()
    # "KeyError: 'id'" of a dict says nothing without its type; neither do errors of types that
    # nobody raises on purpose
    plain = isinstance(error, SAYS_WHAT) or _is_own(error)
    if found := _BUILT.match(message):
        rest = message[found.end() :]
        message = rest if plain else f'{found[2]}: {rest}'
    if not plain or len(message.split()) < 3:
        message = f'{type(error).__name__}: {message}'
    return message


def _is_own(error: Exception) -> bool:
    return type(error).__module__.split('.')[0] == 'eclip_mm'
