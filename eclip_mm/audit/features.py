"""The features of a catalogue, on disk: those of pictures, and of titles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eclip_mm.index.feature_folder import FeatureFolder


@dataclass
class AuditFeatures:
    """P products with N pictures, in the order of the catalogue.

    Attributes:
        product_ids: P ids.
        categories: (P,) int64 number of the category; products without one share -1.
        titles: (P, D) unit text features.
        pictures: (N, D) unit image features.
        owner: (N,) int64 number of the product of a picture.
        numbers: (N,) int64 place of a picture in its stored row, from 0.
    """

    product_ids: list[str]
    categories: np.ndarray
    titles: np.ndarray
    pictures: np.ndarray
    owner: np.ndarray
    numbers: np.ndarray

    def means(self) -> np.ndarray:
        """(P, D) float32 sum of the pictures of each product."""
        sums = np.zeros(self.titles.shape, np.float32)
        np.add.at(sums, self.owner, self.pictures)
        return sums


def read_features(folder: str | Path, scratch: Path) -> AuditFeatures:
    """Read a folder of ``tools/embed_catalog.py`` that was written with ``--per picture``.

    Vectors are copied to memory-mapped files, so that memory does not grow with them.

    Args:
        folder: the features.
        scratch: empty folder for the copies; it must stay while they are used.

    Raises:
        FileNotFoundError: there are no finished features.
        ValueError: there are none of titles, or none of single pictures.
    """
    titles, pictures = FeatureFolder(folder, 'text'), FeatureFolder(folder, 'image')
    if pictures.per != 'picture':
        raise ValueError(
            f'{folder} has features of products alone, and an audit compares pictures: write them '
            'with `eclip-mm embed ... --per picture`'
        )
    product_ids: list[str] = []
    names: dict[str | None, int] = {None: -1}
    categories: list[int] = []
    title_file = _VectorFile(scratch / 'titles')
    for rows, vectors in titles.blocks():
        product_ids += rows['product_id'].to_pylist()
        for name in rows['category'].to_pylist():
            categories.append(names.setdefault(name, len(names) - 1))
        title_file.write(vectors)
    # an id that the catalogue has twice has two rows, of which the first is meant
    place = {id_: n for n, id_ in reversed(list(enumerate(product_ids)))}
    owner: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    picture_file = _VectorFile(scratch / 'pictures')
    for rows, vectors in pictures.blocks():
        owner.append(np.array([place[id_] for id_ in rows['product_id'].to_pylist()], np.int64))
        numbers.append(rows['picture'].to_numpy().astype(np.int64))
        picture_file.write(vectors)
    return AuditFeatures(
        product_ids,
        np.array(categories, np.int64),
        title_file.read(titles.dims),
        picture_file.read(pictures.dims),
        np.concatenate([*owner, np.zeros(0, np.int64)]),
        np.concatenate([*numbers, np.zeros(0, np.int64)]),
    )


class _VectorFile:
    """Vectors that are written one block after the other, then mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open('wb')

    def write(self, vectors: np.ndarray) -> None:
        np.ascontiguousarray(vectors, np.float32).tofile(self._file)

    def read(self, dims: int) -> np.ndarray:
        self._file.close()
        count = self._path.stat().st_size // (4 * dims)
        if count == 0:
            return np.zeros((0, dims), np.float32)
        return np.memmap(self._path, np.float32, 'r', shape=(count, dims))
