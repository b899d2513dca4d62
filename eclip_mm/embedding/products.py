"""Products of a slice on their way to the model, and what cannot go there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info

from eclip_mm.datasets.storage.schema import CatalogueError, validate_row
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.embedding.rows import Row, read_rows
from eclip_mm.embedding.slices import Slice


@dataclass
class Fault:
    """A row, or one picture of a row, that has no features.

    Attributes:
        row: Row number from 1.
        reason: What is wrong with it.
        product_id: Where it is known.
        picture: Place in the row, from 0; None for the whole row.
    """

    row: int
    reason: str
    product_id: str | None = None
    picture: int | None = None


@dataclass
class Product:
    """A row that has features.

    Attributes:
        row: Row number from 1.
        product_id, category: Of the row.
        pictures: Its V readable pictures, as places in the row, from 0.
        sources: Source of each of them.
    """

    row: int
    product_id: str
    category: str | None
    pictures: list[int]
    sources: list[str]


@dataclass
class Block:
    """B products with P pictures in all.

    Attributes:
        num_rows: Rows that were read for it.
        products: Those that can be embedded, in order.
        faults: The other rows, and pictures without use.
        images: (P, 3, H, W) uint8, product by product.
        input_ids, attention_mask: (B, M) the texts.
    """

    num_rows: int
    products: list[Product]
    faults: list[Fault]
    images: torch.Tensor | None = None
    input_ids: torch.Tensor | None = None
    attention_mask: torch.Tensor | None = None


class SliceProducts(IterableDataset):
    """The rows of a slice in blocks, ready for the model.

    Workers of a loader have every so many-th block each. The loader takes one
    of each worker in turn, so the blocks come in their order.

    Args:
        part: Which rows.
        pipeline: Of an evaluation; see
            :func:`~eclip_mm.datasets.catalogue_dataset.build_pipeline`.
        block_rows: Rows of an item.
        sources: Use only pictures of these sources.
    """

    def __init__(
        self,
        part: Slice,
        pipeline: Callable,
        block_rows: int = 64,
        sources: Sequence[str] | None = None,
    ) -> None:
        self.part = part
        self.pipeline = pipeline
        self.block_rows = block_rows
        self.sources = sources

    def __iter__(self) -> Iterator[Block]:
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        starts = range(self.part.start, self.part.stop, self.block_rows)[worker::num_workers]
        spans = ((start, min(start + self.block_rows, self.part.stop)) for start in starts)
        for rows in read_rows(self.part, spans):
            yield self.make_block(rows)

    def make_block(self, rows: Sequence[tuple[int, Row]]) -> Block:
        """A block of rows with their numbers, see :func:`read_rows`."""
        block, inputs = Block(len(rows), [], []), []
        for number, row in rows:
            product, faults, of_product = self.prepare(number, row)
            block.faults += faults
            if product is not None:
                block.products.append(product)
                inputs.append(of_product)
        if inputs:
            ids = [of_product['input_ids'] for of_product in inputs]
            block.images = torch.cat([of_product['images'] for of_product in inputs])
            block.input_ids = pad_sequence(ids, batch_first=True)
            block.attention_mask = pad_sequence([torch.ones_like(i) for i in ids], True)
        return block

    def prepare(self, number: int, row: Row) -> tuple[Product | None, list[Fault], dict | None]:
        """Check a row and decode its pictures; a broken one does not spoil the others.

        Returns:
            The product, None where nothing can be embedded; what is wrong with
            the row or its pictures; ``images`` and ``input_ids`` of the product.
        """
        where = f'{self.part.path}, row {number}'
        if isinstance(row, Exception):
            return None, [Fault(number, str(row))], None
        product_id = row.get('product_id') if isinstance(row, dict) else None
        product_id = product_id if isinstance(product_id, str) else None
        try:
            validate_row(row, where)
        except CatalogueError as error:
            reason = str(error).removeprefix(f'{where}: ')
            return None, [Fault(number, reason, product_id)], None
        records = [
            self._record(image, f'{product_id}#{i}')
            for i, image in enumerate(row['images'])
            if self.sources is None or image['source'] in self.sources
        ]
        if not records:
            reason = f'no picture has one of the sources {", ".join(self.sources)}'
            return None, [Fault(number, reason, product_id)], None
        faults = []
        while records:
            try:
                packed = self.pipeline(self._results(row, records, number))
            except ImageDecodeError as error:
                record = records.pop(error.image_index)
                faults.append(Fault(number, str(error), product_id, _place(record['image_id'])))
                continue
            sample = packed['data_samples']
            places = [_place(image_id) for image_id in sample.image_ids]
            category = row.get('category')
            product = Product(number, product_id, category, places, list(sample.sources))
            return product, faults, packed['inputs']
        reason = f'no picture can be decoded; the first: {faults[0].reason}'
        return None, [*faults, Fault(number, reason, product_id)], None

    def _record(self, image: dict, image_id: str) -> dict:
        record = {key: value for key, value in image.items() if value is not None}
        record.pop('boxes', None)  # of no use here
        if 'path' in record:
            record['path'] = str(Path(self.part.path).absolute().parent / record['path'])
        return dict(record, image_id=image_id)

    @staticmethod
    def _results(row: dict, records: list[dict], number: int) -> dict:
        """What the pipeline works on, as ``CatalogueDataset`` begins it."""
        return dict(
            product_id=row['product_id'],
            text=row['text'],
            category=row.get('category'),
            split='',
            image_records=[dict(record) for record in records],
            rng=np.random.default_rng(number),
        )


def _place(image_id: str) -> int:
    return int(image_id.rpartition('#')[2])
