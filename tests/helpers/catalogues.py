"""Small pictures and catalogues for the tests of the data layer."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from PIL import Image

from eclip_mm.datasets import ParquetCatalogueWriter, write_jsonl


def encode(array: np.ndarray, kind: str = 'PNG', **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def plain_png(value: int, width: int = 24, height: int = 16) -> bytes:
    """A picture of one grey value, by which pictures are recognised after any crop."""
    return encode(np.full((height, width, 3), value, dtype=np.uint8))


def make_rows(num: int, sources=('merchant', 'comment')) -> list[dict]:
    """Rows 'p0', 'p1', ...; picture j of product i has the grey value 10 * i + j."""
    return [
        dict(
            product_id=f'p{i}',
            text=f'Product number {i}',
            category='even odd'.split()[i % 2],
            images=[dict(bytes=plain_png(10 * i + j), source=s) for j, s in enumerate(sources)],
        )
        for i in range(num)
    ]


def write_rows(rows: list[dict], path: Path) -> Path:
    if path.suffix == '.parquet':
        with ParquetCatalogueWriter(path, group_rows=3) as writer:
            for row in rows:
                writer.write(row)
    else:
        write_jsonl(rows, path)
    return path


def break_group(path: Path, group: int) -> None:
    """Overwrite the header of the first column's first page."""
    column = pq.ParquetFile(path).metadata.row_group(group).column(0)
    _overwrite(path, column.dictionary_page_offset or column.data_page_offset, b'\xff' * 12)


def damage_pictures(path: Path, group: int) -> None:
    """Change a byte of the last picture of a row group; only a checksum can find it."""
    file = pq.ParquetFile(path)
    leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    column = file.metadata.row_group(group).column(leaves.index('images.list.element.bytes'))
    place = column.data_page_offset + column.total_compressed_size - 20
    _overwrite(path, place, bytes([path.read_bytes()[place] ^ 1]))


def _overwrite(path: Path, place: int, data: bytes) -> None:
    with open(path, 'r+b') as file:
        file.seek(place)
        file.write(data)


class RemoteFileSystem(AbstractFileSystem):
    """Local files, read in ranges and with read-ahead, as fsspec reads remote ones.

    Attributes:
        fetched: bytes of each request.
        opened: all files that were opened.
        failures, failed: number of requests that fail from now on, and of those that failed.
        options: what the last instance was given.
        block_size: bytes that are read ahead.
    """

    protocol = 'remote'
    fetched, opened, options = [], [], {}
    failures, failed, block_size = 0, 0, 5 * 2**20

    def __init__(self, **options):
        super().__init__(**options)
        self.local = LocalFileSystem()
        RemoteFileSystem.options = options

    def ls(self, path, detail=True, **options):
        return self.local.ls(self._strip_protocol(path), detail=detail)

    def info(self, path, **options):
        return self.local.info(self._strip_protocol(path))

    def _open(self, path, mode='rb', **options):
        options.pop('autocommit', None)
        options['block_size'] = self.block_size
        self.opened.append(RemoteFile(self, path, mode, **options))
        return self.opened[-1]


class RemoteFile(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        if RemoteFileSystem.failures:
            RemoteFileSystem.failures -= 1
            RemoteFileSystem.failed += 1
            raise TimeoutError('the file system does not answer')
        RemoteFileSystem.fetched.append(end - start)
        return self.fs.local.cat_file(self.path, start, end)


class CharTokenizer:
    """A tokenizer that needs no file: the ids are those of characters."""

    vocab_size, pad_token_id = 260, 0

    def __call__(self, text, max_length=None):
        return [2, *(min(ord(c), 255) + 4 for c in text)][: max_length - 1] + [3]


def pipeline(train: bool, size: int = 8) -> list:
    crop = [
        dict(type='RandomResizedCrop', size=size, scale=(0.5, 1.0)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),
    ]
    return [
        dict(type='LoadProductImages'),
        *(crop if train else [dict(type='Resize', size=size)]),
        dict(type='TokenizeText', tokenizer=CharTokenizer(), max_length=55),
        dict(type='PackProductInputs'),
    ]


def save_bert_tokenizer(vocab_file, folder: Path) -> Path:
    """A folder with a vocabulary, as ``hf download`` stores that of BERT."""
    folder.mkdir(parents=True)
    (folder / 'vocab.txt').write_text(Path(vocab_file).read_text(encoding='utf-8'))
    (folder / 'tokenizer_config.json').write_text('{"tokenizer_class": "BertTokenizer"}')
    (folder / 'config.json').write_text('{"model_type": "bert"}')
    return folder
