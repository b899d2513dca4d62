"""Configs and programs that come with the package, in a checkout or in an installed wheel.

A wheel has them in ``eclip_mm/.mim`` (setup.py), where OpenMMLab's programs look for them. This
module must not import torch or mmengine, so that ``--help`` answers at once.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folders(kind: str) -> list[Path]:
    """Where ``configs``, ``tools`` or ``projects`` may lie, the wheel's place first."""
    return [PACKAGE / '.mim' / kind, PACKAGE.parent / kind]


def find_program(name: str) -> Path:
    """A program of ``tools/``, such as ``train.py``.

    Raises:
        FileNotFoundError: the installation has no such program.
    """
    places = [folder / name for folder in shipped_folders('tools')]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f'{name} is in none of {", ".join(map(str, places))}')
    return found


def find_config(path: str | Path) -> str:
    """The path of a config file: the one that is given, else the one that comes with the package.

    Args:
        path: a file, or a name such as ``configs/demo/clip_photos.py`` or ``demo/clip_photos.py``.

    Raises:
        FileNotFoundError: there is neither.
    """
    if Path(path).is_file():
        return str(path)
    name = Path(*Path(path).parts[1:]) if Path(path).parts[:1] == ('configs',) else Path(path)
    folders = shipped_folders('configs')
    for folder in folders:
        if not name.is_absolute() and (folder / name).is_file():
            return str(folder / name)
    has = next((folder for folder in folders if folder.is_dir()), None)
    hint = f', and {has} has no {name}' if has and not name.is_absolute() else ''
    raise FileNotFoundError(f'there is no config file {path}{hint}')
