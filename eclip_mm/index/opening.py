"""An index in a folder, whatever its kind."""

from pathlib import Path

from eclip_mm.index.files import MANIFEST as EXACT_MANIFEST
from eclip_mm.index.lance import MANIFEST, LanceIndex
from eclip_mm.index.vector_index import VectorIndex


def open_index(folder: str | Path) -> VectorIndex | LanceIndex:
    """The exact index in a folder, or its copy in LanceDB.

    Raises:
        EnvironmentCheckError: it is of LanceDB, which is not installed.
        FileNotFoundError: the folder has no index.
        ValueError: it has both, of which one may be old.
    """
    if (Path(folder) / MANIFEST).is_file():
        if (Path(folder) / EXACT_MANIFEST).is_file():
            raise ValueError(
                f'{folder} has an exact index and a copy in LanceDB, of which one may be old: '
                'build each in a folder of its own'
            )
        return LanceIndex(folder)
    return VectorIndex(folder)
