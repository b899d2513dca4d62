"""The command ``eclip-mm``; it imports what a command needs only when that runs."""

import runpy
import sys
from importlib import import_module
from pathlib import Path

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
    'index': ('eclip_mm.cli.index', 'build an index of features, change or export it'),
    'search': ('eclip_mm.cli.search', 'search an index; JSON Lines'),
    'serve': ('eclip_mm.cli.serve', 'answer requests over HTTP'),
}
EXAMPLE = """examples:
  eclip-mm train configs/demo/eclip_tiny_synthetic.py
  eclip-mm embed CONFIG CHECKPOINT my/catalogue.parquet my/features --per picture
  eclip-mm index build my/index my/features
  eclip-mm search my/index --like PRODUCT_ID -k 5 --where category=shoes"""


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
        return import_module(MODULES[command][0]).main(rest, f'eclip-mm {command}')
    if command in PROGRAMS:
        return run_program(PROGRAMS[command][0], rest)
    print(usage(), file=sys.stderr)
    print(f'eclip-mm: {command!r} is no command' if command else '', file=sys.stderr)
    return 2


def run_program(name: str, arguments: list[str]) -> int:
    """Run a program of ``tools/``, of a checkout or of an installed package (``.mim``)."""
    package = Path(__file__).resolve().parents[1]
    places = [package / '.mim/tools' / name, package.parent / 'tools' / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        print(f'eclip-mm: {name} is in none of {places[0]}, {places[1]}', file=sys.stderr)
        return 1
    before = sys.argv, sys.path[:]
    sys.argv, sys.path[:0] = [str(path), *arguments], [str(path.parent)]
    try:
        runpy.run_path(str(path), run_name='__main__')
    finally:
        sys.argv, sys.path[:] = before
    return 0
