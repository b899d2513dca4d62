"""Folders of towers: written whole or not at all, with a card that lists sha256 sums."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eclip_mm import __version__
from eclip_mm.checkpoint.towers.known import TowerError
from eclip_mm.utils.files import beside, sha256_of

CARD = 'README.md'


@contextmanager
def whole_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Write beside a folder, then rename: a half-written folder never has its name.

    Args:
        path: the folder; ``with`` gives the one to write into.
        replace: whether to replace an existing folder.

    Raises:
        OSError: a folder with contents is there, and ``replace`` is not set.
    """
    part, old = beside(path, 'part'), beside(path, 'old')
    part.mkdir(parents=True)
    try:
        yield part
        if replace and path.exists():
            path.rename(old)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def write_card(folder: Path, name: str, about: str, licence: str, facts: dict[str, str]) -> None:
    """Write the model card of a folder that holds all its other files.

    Args:
        folder: its files are listed with their sha256.
        name: of the tower.
        about: a sentence.
        licence: SPDX identifier of the licence of the weights.
        facts: further lines such as the origin, in this order.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    lines = [
        '---',
        f'license: {licence}',
        'library_name: transformers',
        '---',
        '',
        f'# {name}',
        '',
        about,
        '',
        f'- Licence: {licence}',
        *(f'- {key}: {value}' for key, value in facts.items()),
        f'- Written by: `tools/get_towers.py {name}` of eclip_mm {__version__}',
        '',
        f'The sha256 of every file (`sha256sum -c {CARD}` checks them):',
        '',
        '```',
        *(f'{sha256_of(folder / file)}  {file}' for file in names),
        '```',
        '',
    ]
    (folder / CARD).write_text('\n'.join(lines), encoding='utf-8')


def check_folder(folder: Path, source: str | None = None) -> None:
    """Check that a folder holds what its card lists.

    Args:
        folder: a folder that is there.
        source: text that the card has to contain; None for any.

    Raises:
        TowerError: it does not; the message says what is wrong.
    """
    card = folder / CARD
    text = card.read_text(encoding='utf-8') if card.is_file() else ''
    sums = re.findall(r'^([0-9a-f]{64})  (.+)$', text, re.M)
    if not sums:
        wrong = 'has no card with sha256 sums, so this tool did not write it'
    elif source is not None and source not in text:
        wrong = f'is not from the {source}'
    else:
        bad = [file for sha256, file in sums if not _holds(folder / file, sha256)]
        wrong = f'does not hold what its card lists: {", ".join(bad)}' if bad else ''
    if wrong:
        raise TowerError(f'{folder} is there, but {wrong}. Move it away, or add `--force`')


def count_megabytes(folder: Path) -> float:
    """Size of all files of a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in _files(folder)) / 1e6


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('*') if path.is_file()]


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256
