"""The pictures of a catalogue or a folder, and which names are looked for in each."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from eclip_mm.apis.input_pictures import SUFFIXES
from eclip_mm.datasets.catalogue import read_catalogue

#: what a COCO category of a box is
CLASSES = ('title', 'category')
#: which names are looked for in a picture
NAMES_OF = ('own', 'all')


class Sought(NamedTuple):
    """What is looked for.

    Attributes:
        name: the words that are looked for.
        label: name of the COCO category that boxes of it get.
    """

    name: str
    label: str


class NamedPicture(NamedTuple):
    """A picture and what is looked for in it.

    Attributes:
        place: where it is, for messages.
        picture: its path, or the bytes of its file.
        sought: without repetition, in the order of the catalogue.
    """

    place: str
    picture: str | bytes
    sought: tuple[Sought, ...]


class FolderPictures:
    """The pictures in a folder and the folders in it, in the order of their paths.

    Args:
        folder: path; hidden files and folders are left out.
        names: they are looked for in every picture.

    Attributes:
        sought: all that is looked for.

    Raises:
        ValueError: there is no picture.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]) -> None:
        self.folder = Path(folder)
        self.sought = tuple(Sought(name, name) for name in dict.fromkeys(names))
        self.files = []
        for root, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if name[0] != '.')
            self.files += [
                os.path.join(root, name)
                for name in files
                if name[0] != '.' and name.lower().endswith(SUFFIXES)
            ]
        self.files.sort()
        if not self.files:
            raise ValueError(f'{folder} has no picture; known suffixes: {" ".join(SUFFIXES)}')

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[NamedPicture]:
        return (NamedPicture(file, file, self.sought) for file in self.files)

    def digest(self) -> str:
        """Changes where a picture or a name is added, removed or changed."""
        states = (os.stat(file) for file in self.files)
        changed = [(file.st_size, file.st_mtime_ns) for file in states]
        return _digest([self.files, changed, self.sought])


class CataloguePictures:
    """The different pictures of a catalogue, each once, in the order of its rows.

    A picture that several rows have shows the products of all of them. To know these rows before
    the first picture is decoded, all pictures are read once; 20 bytes of each stay in memory.

    Args:
        catalogue: path or paths.
        names_of: ``own`` looks in a picture for the products whose picture it is, ``all`` for all
            products of the catalogue.
        classes: what the COCO category of a box is: the ``title`` of the product, or its
            ``category``. A title that products of several categories have stands for all of
            these with ``all``, and for that of the row with ``own``.
        names: looked for in every picture instead of titles; None for the titles.

    Attributes:
        sought: all that is looked for.

    Raises:
        ValueError: ``names_of`` or ``classes`` is unknown, or no product has a category.
    """

    def __init__(
        self,
        catalogue: str | Path | Sequence[str | Path],
        names_of: str = 'own',
        classes: str = 'title',
        names: Sequence[str] | None = None,
    ) -> None:
        for name, value, known in (
            ('names_of', names_of, NAMES_OF),
            ('classes', classes, CLASSES),
        ):
            if value not in known:
                raise ValueError(f'{name} is {value!r}; use one of {", ".join(known)}')
        self.rows = read_catalogue(catalogue)
        titles = map(str.strip, self.rows.texts())
        labels = titles if classes == 'title' else self.rows.categories()
        if names is None:
            pairs = zip(map(str.strip, self.rows.texts()), labels, strict=True)
            self._of_row = [Sought(*pair) if pair[1] else None for pair in pairs]
        else:
            self._of_row = [Sought(name, name) for name in names]
        self.sought = tuple(dict.fromkeys(filter(None, self._of_row)))
        if not self.sought:
            raise ValueError(f'{catalogue}: no product has a category; use classes=title')
        self.in_all = names_of == 'all' or names is not None
        #: digest of a picture -> (first row, number of the picture in it), and its other rows
        self._first: dict[bytes, tuple[int, int]] = {}
        self._others: dict[bytes, list[int]] = {}
        for number, row in enumerate(self._read_rows()):
            for k, image in enumerate(row['images']):
                key = _picture_key(image)
                if key not in self._first:
                    self._first[key] = number, k
                elif self._first[key][0] != number:
                    self._others.setdefault(key, []).append(number)

    def _read_rows(self) -> Iterator[dict]:
        return (self.rows.load(number, boxes=False) for number in range(len(self.rows)))

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[NamedPicture]:
        last, row = None, {}
        for key, (number, k) in self._first.items():
            if number != last:
                last, row = number, self.rows.load(number, boxes=False)
            image = row['images'][k]
            place = f'product {row["product_id"]}, picture {k}'
            yield NamedPicture(place, image.get('bytes') or image['path'], self._in(key))

    def _in(self, key: bytes) -> tuple[Sought, ...]:
        if self.in_all:
            return self.sought
        rows = (self._first[key][0], *self._others.get(key, ()))
        return tuple(dict.fromkeys(filter(None, (self._of_row[row] for row in rows))))

    def digest(self) -> str:
        """Changes where a picture or a name is added, removed or changed."""
        shown = ((key.hex(), () if self.in_all else self._in(key)) for key in self._first)
        return _digest(chain((self.sought, self.in_all), shown))


def all_titles(sought: Iterable[Sought]) -> list[str]:
    """The different words that are looked for."""
    return list(dict.fromkeys(one.name for one in sought))


def _picture_key(image: dict) -> bytes:
    data = image.get('bytes') or Path(image['path']).read_bytes()
    return hashlib.sha1(data).digest()


def _digest(parts: Iterable) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(repr(part).encode('utf-8', 'surrogatepass') + b'\n')
    return found.hexdigest()
