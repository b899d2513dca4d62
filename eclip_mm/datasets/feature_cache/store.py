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
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

import numpy as np

from eclip_mm.utils.files import write_whole_json

CARD = 'cache.json'


class CacheError(RuntimeError):
    """A feature cache that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class FeatureCard:
    """What all features of a folder have in common.

    Attributes:
        weights: sha256 of the frozen weights, of the architecture and of mean and
            standard deviation.
        boundary: name of the last frozen layer group, or ``all``.
        picture_size: (height, width) of the pictures.
        shape: of the features of a picture.
        precision: ``float32`` or ``bfloat16``, in which they were computed.
    """

    weights: str
    boundary: str
    picture_size: tuple[int, int]
    shape: tuple[int, ...]
    precision: str = 'float32'

    @property
    def num_bytes(self) -> int:
        """Bytes of one picture's features in float16."""
        return 2 * int(np.prod(self.shape))

    def check(self, other: 'FeatureCard', folder: str | Path) -> None:
        """Compare the card of a folder with what is wanted.

        Raises:
            CacheError: they differ. It names all differences.
        """
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        if odd := [f'{n} is {a!r}, wanted is {b!r}' for n, a, b in pairs if a != b]:
            raise CacheError(
                f'{Path(folder) / CARD}: the features are not of this model: {"; ".join(odd)}. '
                'Make them again in another folder: python tools/cache_features.py CONFIG, with '
                '--checkpoint FILE where the weights of the tower come from a checkpoint'
            )


def read_card(folder: str | Path) -> FeatureCard:
    """The card of a folder.

    Raises:
        CacheError: there is none, or it cannot be read.
    """
    path = Path(folder) / CARD
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return FeatureCard(**content)
    except FileNotFoundError:
        raise CacheError(
            f'{path}: there is no feature cache; make it: python tools/cache_features.py CONFIG'
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CacheError(f'{path} is not the card of a feature cache: {error}') from error


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
        self._parts: list[Path] = sorted(self.folder.glob('part-*.jsonl'))
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
        number = len(list(self.folder.glob('part-*.jsonl')))
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
