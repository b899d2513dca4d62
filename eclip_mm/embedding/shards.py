"""Shards of features: their schema, and files that exist whole or not at all."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.datasets.storage.attributes import write_attributes
from eclip_mm.embedding.features import BlockFeatures, mean_of_pictures
from eclip_mm.embedding.products import Block, Fault, Product
from eclip_mm.utils.files import whole_file

#: Key of a shard's counts in the metadata of its file.
COUNTS = b'eclip_mm'


def shard_name(shard: int, num_shards: int) -> str:
    """File name of a shard; sorted names are in the order of the catalogue."""
    return f'features-{shard:06d}-of-{num_shards:06d}.parquet'


def skipped_name(shard: int, num_shards: int) -> str:
    """File name of the report of a shard."""
    return f'_skipped-{shard:06d}-of-{num_shards:06d}.jsonl'


def shard_schema(features: Sequence[str], per: Sequence[str], dims: int) -> pa.Schema:
    """Columns of a shard (docs/embedding.md describes them).

    Args:
        features: some of ``image``, ``text``, ``instance``.
        per: ``product`` for one image and instance feature per product, ``picture`` for one per
            picture, or both.
        dims: width D of the features.
    """
    feature = pa.list_(pa.float32(), dims)
    visual = [pa.field(f'{name}_feat', feature) for name in features if name != 'text']
    fields = [
        pa.field('file', pa.string(), nullable=False),
        pa.field('row', pa.int64(), nullable=False),
        pa.field('product_id', pa.string(), nullable=False),
        pa.field('category', pa.string()),
        pa.field('attributes', pa.string()),
    ]
    if 'text' in features:
        fields.append(pa.field('text_feat', feature))
    if 'product' in per:
        fields += visual
    if 'picture' in per:
        picture = [pa.field('picture', pa.int32()), pa.field('source', pa.string()), *visual]
        fields.append(pa.field('pictures', pa.list_(pa.struct(picture))))
    return pa.schema(fields)


def block_table(
    products: Sequence[Product], feats: BlockFeatures, file: str, schema: pa.Schema
) -> pa.Table:
    """The rows of a block of products.

    Args:
        products: B products with P pictures in all.
        feats: features of these products.
        file: content of the column ``file``.
        schema: result of :func:`shard_schema`.
    """
    counts = [len(product.pictures) for product in products]
    columns = dict(
        file=[file] * len(products),
        row=[product.row for product in products],
        product_id=[product.product_id for product in products],
        category=[product.category for product in products],
        attributes=[write_attributes(p.attributes) if p.attributes else None for p in products],
    )
    visual = {'image_feat': feats.image, 'instance_feat': feats.instance}
    for name in schema.names:
        kind = schema.field(name).type
        if name == 'text_feat':
            columns[name] = _vectors(feats.text, kind)
        elif name in visual:
            columns[name] = _vectors(mean_of_pictures(visual[name], counts), kind)
        elif name == 'pictures':
            columns[name] = _pictures(products, counts, visual, kind)
    return pa.table(columns, schema=schema)


def _pictures(products, counts: list[int], visual: dict, kind: pa.DataType) -> pa.Array:
    values = dict(
        picture=pa.array([i for p in products for i in p.pictures], pa.int32()),
        source=pa.array([source for p in products for source in p.sources], pa.string()),
    )
    fields = list(kind.value_type)
    arrays = [
        values[f.name] if f.name in values else _vectors(visual[f.name], f.type) for f in fields
    ]
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=fields))


def _vectors(feats, kind: pa.DataType) -> pa.Array:
    flat = pa.array(feats.numpy().reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


class ShardWriter:
    """Writes the features and the report of one shard, the features last.

    If the file of features exists, both are complete: each is written under another name and then
    renamed. Two processes that write the same shard write the same content.

    Args:
        folder: folder of the shards.
        shard, num_shards: number of the shard, and of all shards.
        file: catalogue file of the rows.
        schema: schema of the features.
    """

    def __init__(
        self, folder: Path, shard: int, num_shards: int, file: str, schema: pa.Schema
    ) -> None:
        self.path = folder / shard_name(shard, num_shards)
        self.skipped_path = folder / skipped_name(shard, num_shards)
        self.file = file
        self.schema = schema
        self.tables: list[pa.Table] = []
        self.faults: list[Fault] = []
        self.num_rows = 0

    def add(self, block: Block, embed: Callable[[Block], BlockFeatures]) -> None:
        """Embed the products of a block; keep their features and the faults of the other rows."""
        self.num_rows += block.num_rows
        self.faults += block.faults
        if block.products:
            feats = embed(block)
            self.tables.append(block_table(block.products, feats, self.file, self.schema))

    def finish(self) -> dict:
        """Write both files.

        Returns:
            Numbers of ``rows`` read, of rows ``written`` and ``skipped``, and of single
            ``skipped_pictures``.
        """
        table = pa.concat_tables([self.schema.empty_table(), *self.tables])
        skipped = sum(fault.picture is None for fault in self.faults)
        counts = dict(
            rows=self.num_rows,
            written=len(table),
            skipped=skipped,
            skipped_pictures=len(self.faults) - skipped,
        )
        if self.faults:
            with whole_file(self.skipped_path) as path, open(path, 'w', encoding='utf-8') as file:
                for fault in self.faults:
                    line = json.dumps(dict(file=self.file, **asdict(fault)), ensure_ascii=False)
                    file.write(line + '\n')
        with whole_file(self.path) as path:
            pq.write_table(
                table.replace_schema_metadata({COUNTS: json.dumps(counts)}),
                path,
                compression='zstd',
                use_dictionary=['file', 'category'],
            )
        return counts


def read_counts(path: Path) -> dict | None:
    """Counts of a finished shard; None if it is missing or not whole."""
    try:
        return json.loads(pq.read_metadata(path).metadata[COUNTS])
    except (OSError, KeyError, TypeError, pa.ArrowException):
        return None
