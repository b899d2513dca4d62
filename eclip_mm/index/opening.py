"""An index in a folder, whatever its kind."""

from pathlib import Path

from eclip_mm.index.lance import MANIFEST, LanceIndex
from eclip_mm.index.vector_index import VectorIndex


def open_index(folder: str | Path) -> VectorIndex | LanceIndex:
    """The exact index in a folder, or its copy in LanceDB.

    Raises:
        EnvironmentCheckError: it is of LanceDB, which is not installed.
        FileNotFoundError: the folder has no index.
    """
    if (Path(folder) / MANIFEST).is_file():
        return LanceIndex(folder)
    return VectorIndex(folder)
