"""The command ``eclip-mm``; it imports what a command needs only when that runs."""

import os
import runpy
import sys
from importlib import import_module

from eclip_mm.utils.command import INTERRUPTED, SAYS_WHAT, CommandParser, error_text
from eclip_mm.utils.memory import reuse_freed_memory
from eclip_mm.utils.shipped import find_program

#: command -> (program in tools/, what it does)
PROGRAMS = {
    'train': ('train.py', 'train a model'),
    'test': ('test.py', 'evaluate a checkpoint'),
    'embed': ('embed_catalog.py', 'write the features of a catalogue'),
    'compare': ('compare.py', 'evaluate models side by side'),
    'cache': ('cache_features.py', 'store the features of a frozen tower'),
    'export': ('export.py', 'write a folder to share of a checkpoint'),
    'demo': ('demo.py', 'train on real photos, evaluate and draw'),
}
#: command -> (module with a function main(arguments, name), what it does)
MODULES = {
    'encode': ('eclip_mm.cli.encode', 'vectors of pictures and texts; JSON Lines'),
    'locate': ('eclip_mm.cli.locate', 'boxes of named products in pictures; JSON Lines'),
    'detect': ('eclip_mm.cli.detect', 'objects of a detector in pictures; JSON Lines'),
    'classify': ('eclip_mm.cli.classify', 'which names pictures fit best; JSON Lines'),
    'index': ('eclip_mm.cli.index', 'build an index of features, change or export it'),
    'search': ('eclip_mm.cli.search', 'search an index; JSON Lines'),
    'audit': ('eclip_mm.cli.audit', 'what is wrong in a catalogue, and a file of fixes'),
    'page': ('eclip_mm.cli.page', 'search an index in the browser'),
    'serve': ('eclip_mm.cli.serve', 'answer requests over HTTP'),
}
EXAMPLE = """examples:
  eclip-mm train demo/eclip_tiny_synthetic.py
  eclip-mm export CHECKPOINT my_model
  eclip-mm locate my_model shelf.jpg --names 'red mug' 'blue bowl'
  eclip-mm embed embed.py my_model my/catalogue.parquet my/features --per picture
  eclip-mm index build my/index my/features
  eclip-mm search my/index 'red mug' --model my_model -k 5 --where category=mugs

A config is a file, or the name of one that comes with the package.
Exit codes: 0 done, 1 error, 2 wrong arguments, 3 some inputs gave no result, 130 interrupted."""


def usage() -> str:
    """The text of ``eclip-mm --help``."""
    commands = {**PROGRAMS, **MODULES}
    lines = [f'  {name:8} {what}' for name, (_, what) in commands.items()]
    return '\n'.join(
        ['usage: eclip-mm COMMAND ...', '', 'commands (COMMAND --help says more):', *lines]
        + ['', EXAMPLE]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ['']
    if command in ('-h', '--help'):
        print(usage())
        return 0
    if command in MODULES:
        return run_module(MODULES[command][0], rest, f'eclip-mm {command}')
    if command in PROGRAMS:
        return run_program(PROGRAMS[command][0], rest)
    print(usage(), file=sys.stderr)
    print(f'eclip-mm: {command!r} is no command' if command else '', file=sys.stderr)
    return 2


def run_module(module: str, arguments: list[str], name: str) -> int:
    """Run ``main(arguments, name)`` of a module; an error becomes a line and exit code 1."""
    CommandParser.wants_traceback = False
    reuse_freed_memory()
    try:
        code = import_module(module).main(arguments, name)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f'{name}: interrupted', file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if CommandParser.wants_traceback:
            raise
        print(f'{name}: {error_text(error, SAYS_WHAT)}', file=sys.stderr)
        return 1


def run_program(name: str, arguments: list[str]) -> int:
    """Run a program of ``tools/``."""
    try:
        path = find_program(name)
    except FileNotFoundError as error:
        print(f'eclip-mm: {error}', file=sys.stderr)
        return 1
    before = sys.argv, sys.path[:]
    sys.argv, sys.path[:0] = [str(path), *arguments], [str(path.parent)]
    try:
        runpy.run_path(str(path), run_name='__main__')
    finally:
        sys.argv, sys.path[:] = before
    return 0
