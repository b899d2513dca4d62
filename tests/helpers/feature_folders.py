"""Folders of features as tools/embed_catalog.py writes them, without a model."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eclip_mm.embedding import shard_name, shard_schema

DIMS = 16


def write_features(
    folder: Path,
    products: list[str],
    seed: int = 0,
    weights: str = 'a' * 64,
    shards: int = 2,
    attributes: Sequence[dict] = (),
) -> np.ndarray:
    """Features of products with 1, 2 or 3 pictures each; returns the image features in order.

    Categories go round shoes, boots, null; sources are merchant for the first picture, comment
    for others. Attributes go round as well.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    schema = shard_schema(('image', 'text'), ('product', 'picture'), DIMS)

    def vector():
        x = rng.normal(size=DIMS)
        return (x / np.linalg.norm(x)).astype(np.float32)

    stored = [json.dumps(found) for found in attributes] or [None]
    rows, all_pictures = [], []
    for number, product in enumerate(products):
        pictures = [
            dict(picture=i, source='comment' if i else 'merchant', image_feat=vector())
            for i in range(1 + number % 3)
        ]
        all_pictures += [picture['image_feat'] for picture in pictures]
        rows.append(
            dict(
                file='c.parquet',
                row=number + 1,
                product_id=product,
                category=('shoes', 'boots', None)[number % 3],
                attributes=stored[number % len(stored)],
                text_feat=vector(),
                image_feat=vector(),
                pictures=pictures,
            )
        )
    _write(folder, rows, schema, weights, shards)
    return np.stack(all_pictures)


def write_features_of(eclip, catalogue: Path, num_products: int, folder: Path) -> None:
    """The image features of the pictures of the first products of a Parquet catalogue."""
    folder.mkdir(parents=True)
    rows = []
    for number, row in enumerate(pq.read_table(catalogue).to_pylist()[:num_products], 1):
        found = eclip.encode([image['bytes'] for image in row['images']], strict=True)
        pictures = [
            dict(picture=i, source=image['source'], image_feat=result['vector'])
            for i, (image, result) in enumerate(zip(row['images'], found, strict=True))
        ]
        about = dict(file=str(catalogue), row=number, pictures=pictures)
        rows.append({key: row[key] for key in ('product_id', 'category')} | about)
    schema = shard_schema(('image',), ('picture',), eclip.embed_dims)
    _write(folder, rows, schema, eclip.checkpoint['sha256'], 1)


def write_vectors(folder: Path, products: Sequence[dict]) -> None:
    """Given vectors: each product has ``product_id``, ``category``, ``text`` and ``pictures``."""

    def unit(x):
        return (x / np.linalg.norm(x)).astype(np.float32)

    folder.mkdir(parents=True)
    rows = []
    for number, product in enumerate(products, 1):
        pictures = [
            dict(picture=i, source='merchant', image_feat=unit(x))
            for i, x in enumerate(product['pictures'])
        ]
        about = dict(file='c.parquet', row=number, pictures=pictures)
        keys = ('product_id', 'category')
        rows.append({k: product[k] for k in keys} | about | dict(text_feat=unit(product['text'])))
    dims = len(products[0]['text'])
    schema = shard_schema(('image', 'text'), ('picture',), dims)
    _write(folder, rows, schema, 'a' * 64, 2)


def _write(folder: Path, rows: list[dict], schema: pa.Schema, weights: str, shards: int) -> None:
    size = -(-len(rows) // shards)
    for shard in range(shards):
        part = rows[shard * size : (shard + 1) * size]
        table = pa.Table.from_pylist(part, schema=schema)
        pq.write_table(table, folder / shard_name(shard, shards))
    (folder / '_embedding.json').write_text(json.dumps(dict(checkpoint_sha256=weights)))
    (folder / '_summary.json').write_text(json.dumps(dict(shards=shards)))
