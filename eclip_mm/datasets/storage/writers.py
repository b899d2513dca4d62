"""Writing a catalogue. The file appears under its name only when it is complete."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

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


def write_jsonl(
    rows: Iterable[Mapping], path: str | Path, image_dir: str | Path | None = None
) -> int:
    """Write rows as JSON Lines.

    Pictures given as ``bytes`` are saved as files. The others are not copied; their ``path`` is
    rewritten relative to the file.

    Args:
        rows: catalogue rows; image paths are absolute or relative to the working directory.
        path: target, ``.jsonl``.
        image_dir: folder for the pictures. Defaults to ``{stem}_images`` beside the file.

    Returns:
        Number of rows written.

    Raises:
        CatalogueError: a row is not of the schema; nothing is left at ``path``.
    """
    path = Path(path)
    folder = path.absolute().parent
    image_dir = Path(image_dir) if image_dir is not None else folder / f'{path.stem}_images'
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with whole_file(path) as part, open(part, 'w', encoding='utf-8') as file:
        for count, row in enumerate(rows, 1):
            row = _checked(row, f'{path}, row {count}')
            images = [
                _image_as_file(image, row['product_id'], count, i, folder, image_dir)
                for i, image in enumerate(row['images'])
            ]
            file.write(json.dumps({**row, 'images': images}, ensure_ascii=False) + '\n')
    return count


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
        suffix = next((s for magic, s in _SUFFIX_OF_MAGIC if data.startswith(magic)), '.img')
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


class ParquetCatalogueWriter:
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
        self.path = Path(path)
        self.group_bytes = group_bytes
        self.group_rows = group_rows
        self.num_rows = 0
        self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
        self._target = whole_file(self.path)
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
            self._bytes += len(image['bytes'])
            images.append(image)
        self._bytes += len(row['text'])
        self._rows.append({**row, 'images': images})
        self.num_rows += 1
        if self._bytes >= self.group_bytes or len(self._rows) >= self.group_rows:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=PARQUET_SCHEMA))
            self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            self._flush()
            self._writer.close()
            self._target.commit()
        finally:
            self._target.discard()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._writer.close()
        self._target.discard()

    def __enter__(self) -> 'ParquetCatalogueWriter':
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _leaves() -> list[str]:
    element = 'images.list.element'
    return [
        'product_id',
        'text',
        'category',
        f'{element}.path',
        f'{element}.bytes',
        f'{element}.source',
        f'{element}.boxes.list.element.bbox.list.element',
        f'{element}.boxes.list.element.product_id',
    ]
