"""Writing a catalogue. The file appears under its name only when it is complete."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.attributes import read_attributes, write_attributes
from eclip_mm.datasets.storage.path_hints import path_hint
from eclip_mm.datasets.storage.schema import PARQUET_SCHEMA, CatalogueError, validate_row
from eclip_mm.datasets.storage.tidy import tidy_row
from eclip_mm.utils.files import whole_file

_SUFFIX_OF_MAGIC = (
    (b'\xff\xd8\xff', '.jpg'),
    (b'\x89PNG', '.png'),
    (b'GIF8', '.gif'),
    (b'BM', '.bmp'),
)


def picture_suffix(data: bytes) -> str | None:
    """Suffix of a picture in one of the formats that any program reads, or None."""
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return '.webp'
    return next((s for magic, s in _SUFFIX_OF_MAGIC if data.startswith(magic)), None)


class _CatalogueWriter:
    """Writes rows one after the other, in little memory.

    This is a context manager: the file appears under its name if the block ends without an error,
    otherwise nothing is left.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.num_rows = 0
        self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
        self._target = whole_file(self.path)

    def _finish(self) -> None:
        """Write what is left and close the file."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            self._finish()
            self._target.commit()
        finally:
            self._target.discard()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._writer.close()
        self._target.discard()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class JsonLinesCatalogueWriter(_CatalogueWriter):
    """Writes rows to a JSON Lines file, one after the other.

    This is a context manager: the file appears under its name if the block ends without an error.
    Pictures given as ``bytes`` are saved as files. The others are not copied; their ``path`` is
    rewritten relative to the file.

    Args:
        path: target, ``.jsonl``.
        image_dir: folder for the pictures. Defaults to ``{stem}_images`` beside the file.
    """

    def __init__(self, path: str | Path, image_dir: str | Path | None = None) -> None:
        super().__init__(path)
        self._folder = self.path.absolute().parent
        self._image_dir = Path(
            self._folder / f'{self.path.stem}_images' if image_dir is None else image_dir
        )
        self._writer = open(self._target.part, 'w', encoding='utf-8')

    def write(self, row: Mapping) -> None:
        """Append a row.

        Args:
            row: catalogue row; image paths are absolute or relative to the working directory.

        Raises:
            CatalogueError: the row is not of the schema.
        """
        number = self.num_rows + 1
        row = _checked(row, f'{self.path}, row {number}')
        images = [
            _image_as_file(image, row['product_id'], number, i, self._folder, self._image_dir)
            for i, image in enumerate(row['images'])
        ]
        written = {**row, 'images': images}
        if 'attributes' in row:
            written['attributes'] = read_attributes(row['attributes'])
        self._writer.write(json.dumps(written, ensure_ascii=False) + '\n')
        self.num_rows = number

    def _finish(self) -> None:
        self._writer.close()


def write_jsonl(
    rows: Iterable[Mapping], path: str | Path, image_dir: str | Path | None = None
) -> int:
    """Write rows with a :class:`JsonLinesCatalogueWriter`, and return their number."""
    with JsonLinesCatalogueWriter(path, image_dir) as writer:
        for row in rows:
            writer.write(row)
    return writer.num_rows


def _checked(row: Mapping, where: str) -> dict:
    """A row that is tidy, has no fault, and can be written: numbers of numpy cannot."""
    row = tidy_row(row)
    validate_row(row, where)
    for image in row['images']:
        if 'boxes' in image:
            image['boxes'] = [
                dict(bbox=[float(v) for v in box['bbox']], product_id=box['product_id'])
                for box in image['boxes']
            ]
    return row


def _image_as_file(
    image: Mapping, product_id: str, row: int, index: int, folder: Path, image_dir: Path
) -> dict:
    image = dict(image)
    if 'bytes' in image:
        data = bytes(image.pop('bytes'))
        suffix = picture_suffix(data) or '.img'
        # A thousand products in a folder: file systems and people both dislike millions.
        name = f'{_file_stem(product_id)}_{index}{suffix}'
        target = image_dir / f'{(row - 1) // 1000:04d}' / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        image['path'] = str(target)
    image['path'] = Path(os.path.relpath(image['path'], folder)).as_posix()
    return image


def _file_stem(product_id: str) -> str:
    stem = quote(product_id, safe=' ').replace(' ', '_').replace('%', '=')
    if stem != product_id or len(stem) > 80:  # keep different ids apart
        stem = f'{stem[:60]}-{hashlib.sha1(product_id.encode()).hexdigest()[:8]}'
    return stem


class ParquetCatalogueWriter(_CatalogueWriter):
    """Writes rows to a Parquet file, one after the other, in little memory.

    This is a context manager: the file appears under its name if the block ends without an error,
    otherwise nothing is left. Row groups are small, so that reading one product at random does not
    decode a large block. The bytes of pictures are not compressed a second time.

    Args:
        path: target, ``.parquet``.
        group_bytes: a row group ends when its pictures and texts reach this size, ...
        group_rows: ... or when it has this many rows.

    Example:
        >>> with ParquetCatalogueWriter('train.parquet') as writer:
        ...     writer.write(dict(product_id='1', text='Red mug', images=[
        ...         dict(bytes=jpeg, source='merchant')]))
    """

    def __init__(self, path: str | Path, group_bytes: int = 2**20, group_rows: int = 1000) -> None:
        super().__init__(path)
        self.group_bytes = group_bytes
        self.group_rows = group_rows
        self._rows: list[dict] = []
        self._bytes = 0
        self._writer = pq.ParquetWriter(
            self._target.part,
            PARQUET_SCHEMA,
            compression={
                leaf: 'none' if leaf.endswith('.bytes') else 'zstd' for leaf in _leaves()
            },
            use_dictionary=['category', 'images.list.element.source'],
            write_page_checksum=True,  # without it, most damage to pictures would be decoded
            # Not of the bytes: the footer would hold the smallest and largest picture of a group.
            write_statistics=[leaf for leaf in _leaves() if not leaf.endswith('.bytes')],
        )

    def write(self, row: Mapping) -> None:
        """Append a row; a picture given by ``path`` is read into the file.

        Args:
            row: catalogue row; a relative path is relative to the working directory.

        Raises:
            CatalogueError: the row is not of the schema or a picture file cannot be read.
        """
        where = f'{self.path}, row {self.num_rows + 1}'
        row = _checked(row, where)
        images = []
        for i, image in enumerate(row['images']):
            image = dict(image)
            path = image.pop('path', None)
            if path is not None:
                try:
                    image['bytes'] = Path(path).read_bytes()
                except OSError as error:
                    raise CatalogueError(
                        f"{where}: field 'images[{i}].path': cannot read '{path}' "
                        f'({error.strerror}){path_hint(path, ".")}'
                    ) from error
                if not image['bytes']:
                    raise CatalogueError(
                        f"{where}: field 'images[{i}].path': the file '{path}' is empty; leave "
                        'the picture out'
                    )
            self._bytes += len(image['bytes'])
            images.append(image)
        stored = {**row, 'images': images}
        attributes = read_attributes(row.get('attributes'))
        stored['attributes'] = write_attributes(attributes) if attributes else None
        self._bytes += len(row['text']) + len(stored['attributes'] or '')
        self._rows.append(stored)
        self.num_rows += 1
        if self._bytes >= self.group_bytes or len(self._rows) >= self.group_rows:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=PARQUET_SCHEMA))
            self._rows, self._bytes = [], 0

    def _finish(self) -> None:
        self._flush()
        self._writer.close()


def _leaves() -> list[str]:
    element = 'images.list.element'
    return [
        'product_id',
        'text',
        'category',
        'attributes',
        f'{element}.path',
        f'{element}.bytes',
        f'{element}.source',
        f'{element}.boxes.list.element.bbox.list.element',
        f'{element}.boxes.list.element.product_id',
    ]
