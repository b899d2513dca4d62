"""Products of a row range on their way to the model, and the rows that cannot be embedded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info

from eclip_mm.datasets.catalogue import open_file
from eclip_mm.datasets.image_ids import image_number
from eclip_mm.datasets.picture_choice import wanted_pictures
from eclip_mm.datasets.samples import SampleBuilder, load_stored
from eclip_mm.datasets.storage.schema import CatalogueError, validate_row
from eclip_mm.datasets.storage.stored_files import StoredFile
from eclip_mm.embedding.row_ranges import RowRange

# Faults of a picture's path; other errors are those of a file system.
_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass
class Fault:
    """A row, or one picture of a row, that has no features.

    Attributes:
        row: row number from 1.
        reason: description of the fault.
        product_id: id of the product, where it is known.
        picture: place in the row, from 0; None for the whole row.
    """

    row: int
    reason: str
    product_id: str | None = None
    picture: int | None = None


@dataclass
class Product:
    """A row that has features.

    Attributes:
        row: row number from 1.
        product_id, category, attributes: as in the row.
        pictures: its V readable pictures, as places in the row from 0.
        sources: source of each of them.
    """

    row: int
    product_id: str
    category: str | None
    attributes: dict
    pictures: list[int]
    sources: list[str]


@dataclass
class Block:
    """B products with P pictures in all.

    Attributes:
        num_rows: number of rows that were read for it.
        products: those that can be embedded, in order.
        faults: the other rows, and pictures that cannot be used.
        images: (P, 3, H, W) uint8, product by product.
        input_ids, attention_mask: (B, M) the texts.
    """

    num_rows: int
    products: list[Product]
    faults: list[Fault]
    images: torch.Tensor | None = None
    input_ids: torch.Tensor | None = None
    attention_mask: torch.Tensor | None = None


class ProductBlocks(IterableDataset):
    """The rows of a row range in blocks, ready for the model.

    Each worker of a loader makes every so many-th block. The loader takes one of each worker in
    turn, so the blocks come in their order.

    Args:
        row_range: which rows.
        builder: runs the pipeline of an evaluation on all pictures of a product.
        block_rows: rows of an item.
        sources: use only pictures of these sources.
        storage_options: passed to the file system of the catalogue.
    """

    def __init__(
        self,
        row_range: RowRange,
        builder: SampleBuilder,
        block_rows: int = 64,
        sources: Sequence[str] | None = None,
        storage_options: dict | None = None,
    ) -> None:
        self.row_range = row_range
        self.block_rows = block_rows
        self.sources = sources
        self.file = StoredFile(row_range.path, storage_options)
        self._builder = builder

    def __iter__(self) -> Iterator[Block]:
        info = get_worker_info()
        worker, num_workers = (info.id, info.num_workers) if info else (0, 1)
        start, stop = self.row_range.start, self.row_range.stop
        starts = range(start, stop, self.block_rows)[worker::num_workers]
        spans = ((first, min(first + self.block_rows, stop)) for first in starts)
        for rows in open_file(self.file).read_spans(spans, start, self.row_range.offset):
            yield self.make_block(rows)

    def make_block(self, rows: Sequence[tuple[int, dict | Exception]]) -> Block:
        """A block of rows with their numbers, as ``read_spans`` yields them."""
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

    def prepare(
        self, number: int, row: dict | Exception
    ) -> tuple[Product | None, list[Fault], dict | None]:
        """Check a row and decode its pictures; a broken one does not spoil the others.

        Returns:
            The product, None if nothing can be embedded; the faults of the row and its pictures;
            ``images`` and ``input_ids`` of the product.
        """
        where = f'{self.file}, row {number}'
        if isinstance(row, Exception):
            return None, [Fault(number, str(row))], None
        product_id = row.get('product_id') if isinstance(row, dict) else None
        product_id = product_id if isinstance(product_id, str) else None
        try:
            validate_row(row, where, empty_pictures=True)
        except CatalogueError as error:
            reason = str(error).removeprefix(f'{where}: ')
            return None, [Fault(number, reason, product_id)], None
        pictures = wanted_pictures(row, self.sources, None)
        if not pictures:
            reason = f'no picture has one of the sources {", ".join(self.sources)}'
            return None, [Fault(number, reason, product_id)], None
        # A row is embedded without the pictures that are broken or missing, but not without those
        # that a file system fails to deliver or refuses, as with expired credentials: such errors
        # end the run, which can be continued.
        load = partial(load_stored, row, self.file, read_local=False, faults=_NO_FILE)
        faults = []
        packed = self._builder.build(
            pictures,
            (),
            load,
            (np.random.default_rng(number) for _ in count()),
            lambda place, error: faults.append(Fault(number, str(error), product_id, place)),
        )
        if packed is None:
            reason = f'no picture can be decoded; the first: {faults[0].reason}'
            return None, [*faults, Fault(number, reason, product_id)], None
        sample = packed['data_samples']
        places = [image_number(image_id) for image_id in sample.image_ids]
        product = Product(
            number,
            product_id,
            row.get('category'),
            sample.attributes,
            places,
            list(sample.sources),
        )
        return product, faults, packed['inputs']
