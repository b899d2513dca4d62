"""Reading a product catalogue: one row per product, two carriers, one schema.

A row is the dict ``{product_id: str, text: str, category: str | None, images:
[{path: str or bytes: bytes, source: optional str, boxes: optional [{bbox: [x1, y1, x2,
y2], product_id: str}]}], attributes: optional {name: str, float, bool or list of
str}}``; boxes are xyxy in pixels of the stored picture.

- JSON Lines (``.jsonl``, ``.json``, also packed as ``.jsonl.gz``), for catalogues that are written
  by hand: one row a line, ``path`` relative to the file.
- Parquet (``.parquet``, or a folder of ``.parquet`` files), for catalogues of any size: the same
  nested columns, pictures usually as ``bytes``. ``attributes`` is JSON text, so that the columns
  do not depend on the shop; a struct or a map of other programs is read as well.

:mod:`~eclip_mm.datasets.storage.column_types` and :mod:`~eclip_mm.datasets.storage.tidy` say what
else is read, since other programs write it.
"""

import logging
import os
import posixpath
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from eclip_mm.datasets.fixes import Fixes
from eclip_mm.datasets.storage.attributes import Attribute, read_attributes
from eclip_mm.datasets.storage.jsonl import JsonLinesFile
from eclip_mm.datasets.storage.parquet_file import ParquetCatalogueFile
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError, CheckedRow, validate_row
from eclip_mm.datasets.storage.stored_files import StoredFile, find_files

JSONL_SUFFIXES = ('.jsonl', '.json')
PARQUET_SUFFIX = '.parquet'

CatalogueFile = JsonLinesFile | ParquetCatalogueFile


class Catalogue(Sequence):
    """The usable rows of one or several catalogue files; see :func:`read_catalogue`.

    Rows are decoded when they are asked for: only the ids, the place of each row and the source of
    each picture are in memory. An instance may be pickled and used in forked or spawned workers.

    Args:
        files: its files, opened.
        strict: raise at the first problem.
        check_files: leave out pictures whose file does not exist.
        fixes: what else to leave out, and which pictures come first. Products that they merge
            keep their ids here; :class:`SampleBuilder` gives their samples the other's.
    """

    def __init__(
        self,
        files: list[CatalogueFile],
        strict: bool = False,
        check_files: bool = True,
        fixes: Fixes | None = None,
    ) -> None:
        self.report = CatalogueReport()
        self.fixes = fixes or Fixes()
        self.product_ids: list[str] = []
        self.source_names: list[str] = []
        self._files = files
        # Flat typed arrays, not lists of tuples: a million products stay small, and forked workers
        # do not copy them by touching reference counts.
        self._file_of, self._row_of = array('i'), array('q')
        self._image_start, self._image_source = array('q', [0]), array('h')
        self._kept_images: dict[int, list[int]] = {}
        self._scan(strict, check_files)
        self._file_of, self._row_of, self._image_start, self._image_source = (
            np.asarray(a)
            for a in (self._file_of, self._row_of, self._image_start, self._image_source)
        )

    def _scan(self, strict: bool, check_files: bool) -> None:
        seen: dict[str, int] = {}
        codes: dict[str, int] = {}
        fixed_out: set[str] = set()
        for file_index, opened in enumerate(self._files):
            for row_index, number, row in opened.scan():
                self.report.num_rows += 1
                kept = None
                try:
                    if not isinstance(row, CheckedRow):
                        where = f'{opened.file}, row {number}'
                        row, kept = self._check(row, opened.file, where, strict, check_files)
                    if row.product_id in seen:
                        first = self._files[self._file_of[seen[row.product_id]]].file
                        raise CatalogueError(
                            f"{opened.file}, row {number}: field 'product_id' {row.product_id!r} "
                            f'was already used in {first}; ids are unique: put all pictures of '
                            'a product in one row'
                        )
                except CatalogueError as error:
                    if strict:
                        raise
                    self.report.num_skipped += 1
                    self.report.add(str(error), error.kind)
                    continue
                sources = row.sources
                if self.fixes:
                    numbers = kept or range(len(sources))
                    fixed = self.fixes.pictures(row.product_id, numbers)
                    if not fixed:
                        fixed_out.add(row.product_id)
                        continue
                    source_of = dict(zip(numbers, sources, strict=True))
                    kept, sources = list(fixed), [source_of[number] for number in fixed]
                index = len(self.product_ids)
                seen[row.product_id] = index
                self.product_ids.append(row.product_id)
                self._file_of.append(file_index)
                self._row_of.append(row_index)
                if kept is not None:
                    self._kept_images[index] = kept
                for source in sources:
                    self._image_source.append(codes.setdefault(source, len(codes)))
                self._image_start.append(len(self._image_source))
        self.source_names = list(codes)
        self.report.num_used = len(self.product_ids)
        self.report.num_fixed = len(fixed_out)
        if self.fixes and (unknown := self.fixes.unknown(fixed_out.union(seen))):
            print_log(unknown, logger='current', level=logging.WARNING)
        if not self.product_ids:
            names = ', '.join(str(opened.file) for opened in self._files[:3])
            problem = f'no row can be used\n{self.report}'
            if not self.report.num_rows:
                problem = 'the catalogue is empty; it has no row'
            raise CatalogueError(f'{names}: {problem}')

    def _check(
        self, row: dict | Exception, file: StoredFile, where: str, strict: bool, check_files: bool
    ) -> tuple[CheckedRow, list[int] | None]:
        """The checked row, and the pictures to keep; None for all."""
        if isinstance(row, Exception):
            raise CatalogueError(f'{where}: {row}', getattr(row, 'kind', None))
        validate_row(row, where, empty_pictures=True)
        images = row['images']
        kept = list(range(len(images)))
        if check_files:
            kept = self._existing_images(images, file, where, strict)
        checked = CheckedRow(row['product_id'], [images[i]['source'] for i in kept])
        return checked, kept if len(kept) < len(images) else None

    def _existing_images(
        self, images: list, file: StoredFile, where: str, strict: bool
    ) -> list[int]:
        kept, missing = [], []
        for i, image in enumerate(images):
            path = image.get('path')
            if path is None and image.get('bytes'):
                kept.append(i)
            elif path is None:
                missing.append(
                    f"{where}: field 'images[{i}]' has neither a 'path' nor 'bytes' that are not "
                    'empty'
                )
            elif os.path.isfile(place := file.beside(path)):
                kept.append(i)
            elif os.path.isdir(place):
                missing.append(
                    f"{where}: field 'images[{i}].path': '{place}' is a folder; give the path of "
                    'a picture'
                )
            else:
                hint = '' if self.report.is_full else file.hint(path)
                missing.append(
                    f"{where}: field 'images[{i}].path': there is no file "
                    f"'{place}'{hint or '; paths are relative to the catalogue file'}"
                )
        if missing and (strict or not kept):
            raise CatalogueError(missing[0])
        self.report.num_missing_images += len(missing)
        for problem in missing:
            self.report.add(problem)
        return kept

    def __len__(self) -> int:
        return len(self.product_ids)

    def __getitem__(self, index: int) -> dict:
        return self.load(index)

    def load(self, index: int, images: Sequence[int] | None = None, boxes: bool = True) -> dict:
        """Decode one row.

        Args:
            index: which of the usable rows.
            images: which of its usable pictures to return, in this order. Defaults to all.
            boxes: read the boxes; without them it is faster.

        Returns:
            The row. Image paths are absolute; an image has only those of ``path``, ``bytes`` and
            ``boxes`` that are set, and a row only has ``attributes`` if there are any.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f'row {index} of a catalogue of {len(self)}')
        index %= len(self)
        if images is None:
            images = range(self.num_images(index))
        opened = self._files[self._file_of[index]]
        row = opened.load(
            int(self._row_of[index]), [self.image_number(index, i) for i in images], boxes
        )
        row.setdefault('category', None)
        attributes = read_attributes(row.pop('attributes', None))
        if attributes:
            row['attributes'] = attributes
        for image in row['images']:
            if 'path' in image:
                image['path'] = opened.file.beside(image['path'])
        return row

    @property
    def file_names(self) -> tuple[str, ...]:
        """Its files, by which two readers of one catalogue are known."""
        return tuple(str(opened.file) for opened in self._files)

    @property
    def image_starts(self) -> np.ndarray:
        """(len(self) + 1,) where each row begins in :attr:`image_source_codes`."""
        return self._image_start

    @property
    def image_source_codes(self) -> np.ndarray:
        """(total pictures,) index into ``source_names`` of every usable picture."""
        return self._image_source

    def num_images(self, index: int) -> int:
        """Number of usable pictures of a product."""
        return int(self._image_start[index + 1] - self._image_start[index])

    def image_number(self, index: int, image: int) -> int:
        """Place in the stored row of the ``image``-th usable picture."""
        kept = self._kept_images.get(index)
        return image if kept is None else kept[image]

    def image_sources(self, index: int) -> list[str]:
        """Sources of the usable pictures of a product, without decoding the row."""
        codes = self._image_source[self._image_start[index] : self._image_start[index + 1]]
        return [self.source_names[code] for code in codes]

    def texts(self) -> Iterator[str]:
        """Texts of all usable rows, in order; no picture is read."""
        return self._column('text')

    def categories(self) -> Iterator[str | None]:
        """Categories of all usable rows, in order; no picture is read."""
        return self._column('category')

    def attributes(self) -> Iterator[dict[str, Attribute]]:
        """Attributes of all usable rows, in order; no picture is read."""
        return map(read_attributes, self._column('attributes'))

    def _column(self, name: str) -> Iterator:
        for file_index, opened in enumerate(self._files):
            rows = self._row_of[self._file_of == file_index]
            yield from opened.column(name, rows)


def read_catalogue(
    path: str | Path | Sequence[str | Path],
    strict: bool = False,
    check_files: bool = True,
    fixes: str | Path | None = None,
) -> Catalogue:
    """Open a catalogue and check every row of it.

    Args:
        path: a ``.jsonl``/``.json`` file, also packed as ``.jsonl.gz``, a ``.parquet`` file, a
            folder of ``.parquet`` files, a pattern with ``*``, or several of these.
        strict: raise at the first row that cannot be used. Otherwise such rows are skipped,
            counted and named in ``Catalogue.report``.
        check_files: check that picture files exist. Switch it off where that is slow (a network
            file system).
        fixes: file of fixes to apply, see :mod:`~eclip_mm.datasets.fixes`.

    Returns:
        The usable rows.

    Raises:
        FixError: the file of fixes cannot be used.
        CatalogueError: a file does not exist, is not local or is not a catalogue; no row can be
            used; with ``strict``, also if one row cannot.
    """
    files = find_files(path)
    for file in files:
        if not file.is_local:
            raise CatalogueError(
                f'{file}: a catalogue that is read at random lies on a local file system; use '
                'ProductStream, which reads any, or copy the file'
            )
    return Catalogue(open_files(files), strict, check_files, Fixes(fixes))


def open_files(files: Sequence[StoredFile]) -> list[CatalogueFile]:
    """Open the files of a catalogue, and warn of those with large row groups.

    Raises:
        CatalogueError: a file is not a catalogue.
    """
    opened = [open_file(file) for file in files]
    for file in opened:
        if isinstance(file, ParquetCatalogueFile):
            file.warn_if_coarse()
    return opened


def open_file(file: StoredFile) -> CatalogueFile:
    """Open a file of a catalogue, whose suffix says of which kind it is.

    Raises:
        CatalogueError: it is not a catalogue.
    """
    suffix = posixpath.splitext(file.path)[1]
    if is_json_lines(file):
        return JsonLinesFile(file)
    if suffix == PARQUET_SUFFIX:
        return ParquetCatalogueFile(file)
    raise CatalogueError(
        f'{file}: the suffix {suffix!r} is not one of a catalogue; '
        f'use {", ".join(JSONL_SUFFIXES)} or {PARQUET_SUFFIX}'
    )


def is_json_lines(file: StoredFile) -> bool:
    """Whether the suffix of a file says that it is JSON Lines, as it is or packed by gzip."""
    return file.path.removesuffix('.gz').endswith(JSONL_SUFFIXES)
