"""The folder of a feature cache: a card, and parts that processes append to.

::

    folder/cache.json        what all features are of, a FeatureCard
    folder/part-00000.f16    features of one writer, one after the other
    folder/part-00000.jsonl  one line for each: key, place, what else the sample needs

A writer never continues another one's part, and it writes features before their line. A process
that is killed therefore leaves at worst features without a line, which nobody reads.
"""

import json
import os
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from eclip_mm.datasets.feature_cache.card import CARD, CacheError, FeatureCard, read_card
from eclip_mm.utils.files import write_whole_json


def feature_key(record: dict, content: bytes, recipe: str, view: int) -> str:
    """What a picture's features are found by.

    Args:
        record: of the picture; its boxes belong to the key, since they are stored as they lie
            after the transforms.
        content: the picture's bytes.
        recipe: hash of the transforms.
        view: number of the augmented view.
    """
    digest = sha256(content)
    boxes = record.get('boxes')
    if boxes is not None:
        boxes = [(list(map(float, box['bbox'])), box['product_id']) for box in boxes]
    digest.update(json.dumps([boxes, recipe, view]).encode())
    return digest.hexdigest()[:32]


class CacheReader:
    """Finds features by their key; its instances may be used in forked workers.

    Args:
        folder: of the cache.

    Attributes:
        card: what the features are of.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.card = read_card(folder)
        self._place: dict[str, tuple[int, int, int]] = {}  # key -> part, row, offset of the line
        self._parts: list[Path] = _parts(folder)
        self._features: dict[int, np.ndarray] = {}
        for number, path in enumerate(self._parts):
            self._read_index(number, path)

    def _read_index(self, number: int, path: Path) -> None:
        stored = path.with_suffix('.f16')
        rows = os.path.getsize(stored) // self.card.num_bytes if stored.exists() else 0
        offset = 0
        with open(path, 'rb') as file:
            for line in file:
                if not line.endswith(b'\n'):
                    break  # its writer was killed
                entry = json.loads(line)
                if entry['row'] < rows:
                    self._place.setdefault(entry['key'], (number, entry['row'], offset))
                offset += len(line)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def is_broken(self, key: str) -> bool:
        """Whether the picture of a key that is there could not be decoded."""
        return self._place[key][1] < 0

    def read(self, key: str) -> tuple[np.ndarray | None, dict]:
        """The features of a key, float16, and what else was stored with them.

        The features are None where the picture could not be decoded; ``error`` then says why.

        Raises:
            KeyError: there are none.
        """
        number, row, offset = self._place[key]
        with open(self._parts[number], 'rb') as file:
            file.seek(offset)
            entry = json.loads(file.readline())
        if row < 0:
            return None, entry['fields']
        return self._array(number)[row], entry['fields']

    def _array(self, number: int) -> np.ndarray:
        if number not in self._features:
            path = self._parts[number].with_suffix('.f16')
            rows = os.path.getsize(path) // self.card.num_bytes
            self._features[number] = np.memmap(
                path, dtype=np.float16, mode='r', shape=(rows, *self.card.shape)
            )
        return self._features[number]

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_features': {}}  # workers map the files themselves


def open_cache(folder: str | Path) -> CacheReader:
    """The reader of a folder, one for all data sets until something is added to the folder."""
    files = [path for path in (Path(folder) / CARD, *_parts(folder)) if path.exists()]
    stats = [(path.name, path.stat()) for path in files]
    state = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
    return _open_cache(Path(folder).absolute(), state)


def _parts(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob('part-*.jsonl'))


@lru_cache(maxsize=4)
def _open_cache(folder: Path, state: tuple) -> CacheReader:
    return CacheReader(folder)


class CacheWriter:
    """Appends features to a part of its own.

    Args:
        folder: of the cache; it is made where there is none.
        card: what the features are of.

    Raises:
        CacheError: the folder holds other features, or the disk is full.
    """

    def __init__(self, folder: str | Path, card: FeatureCard) -> None:
        self.folder, self.card = Path(folder), card
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / CARD).exists():
            read_card(self.folder).check(card, self.folder)
        else:
            write_whole_json(self.folder / CARD, asdict(card))
        self._index, self._path = self._new_part()
        self._features = open(self._path.with_suffix('.f16'), 'wb')  # noqa: SIM115
        self._row = 0

    def _new_part(self):
        number = len(_parts(self.folder))
        while True:
            path = self.folder / f'part-{number:05d}.jsonl'
            try:
                return open(path, 'xb'), path  # noqa: SIM115
            except FileExistsError:  # of another process
                number += 1

    def add(self, key: str, features: np.ndarray, stored: dict) -> None:
        """Store the features of a picture.

        Args:
            key: see :func:`feature_key`.
            features: of the card's shape; they are rounded to float16.
            stored: JSON values that :meth:`CacheReader.read` returns beside them.

        Raises:
            CacheError: a feature is not finite in float16.
        """
        with np.errstate(over='ignore'):
            rounded = np.asarray(features).astype(np.float16)
        if not np.isfinite(rounded).all():
            raise CacheError(
                f'{self.folder}: a feature is not finite in float16 (largest value '
                f'{float(np.nanmax(np.abs(features))):g}); cache another layer group, or train '
                'without a cache'
            )
        if rounded.shape != self.card.shape:
            raise ValueError(f'features of shape {rounded.shape}, expected {self.card.shape}')
        self._features.write(rounded.tobytes())
        self._features.flush()
        self._add_line(key, self._row, stored)
        self._row += 1

    def add_broken(self, key: str, error: str) -> None:
        """Note a picture that cannot be decoded."""
        self._add_line(key, -1, dict(error=error))

    def _add_line(self, key: str, row: int, stored: dict) -> None:
        line = json.dumps(dict(key=key, row=row, fields=stored), ensure_ascii=False)
        self._index.write(line.encode() + b'\n')
        self._index.flush()

    def close(self) -> None:
        """Close the files; a part without an entry is removed."""
        self._features.close()
        is_empty = self._index.tell() == 0
        self._index.close()
        if self._row == 0:
            self._path.with_suffix('.f16').unlink()
        if is_empty:  # last: from now on another process may take the number
            self._path.unlink()

    def __enter__(self) -> 'CacheWriter':
        return self

    def __exit__(self, *_) -> None:
        self.close()
