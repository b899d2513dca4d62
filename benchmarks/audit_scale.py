"""Time and memory of an audit of many pictures, with features drawn at random.

    python benchmarks/audit_scale.py FOLDER --products 16667 --pictures 6

Writes a catalogue of smooth pictures of 96 pixels and features of 256 dimensions to FOLDER, where
there are none, and audits them. Prints wall and CPU seconds and the peak of memory.
"""

import argparse
import io
import json
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from eclip_mm.audit import run_audit
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter
from eclip_mm.embedding import shard_name, shard_schema

DIMS, SHARD, CATEGORIES = 256, 2048, 50


def picture(rng: np.random.Generator) -> bytes:
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    content = io.BytesIO()
    small.resize((96, 96), Image.Resampling.BICUBIC).save(content, 'JPEG')
    return content.getvalue()


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def make(folder: Path, num_products: int, num_pictures: int) -> None:
    rng = np.random.default_rng(0)
    features = folder / 'features'
    features.mkdir(parents=True)
    schema = shard_schema(('image', 'text'), ('picture',), DIMS)
    shards = -(-num_products // SHARD)
    with ParquetCatalogueWriter(folder / 'part.parquet') as writer:
        for shard in range(shards):
            rows = []
            for k in range(shard * SHARD, min(num_products, (shard + 1) * SHARD)):
                about = dict(product_id=f'p{k}', category=f'c{k % CATEGORIES}')
                images = [dict(bytes=picture(rng), source='merchant') for _ in range(num_pictures)]
                writer.write(dict(about, text=f'product number {k}', images=images))
                centre = rng.normal(size=DIMS)
                vectors = unit(centre + 0.7 * rng.normal(size=(num_pictures, DIMS)))
                found = [
                    dict(picture=i, source='merchant', image_feat=x) for i, x in enumerate(vectors)
                ]
                text = unit(centre + 0.7 * rng.normal(size=DIMS))
                rows.append(dict(about, file='c', row=k + 1, text_feat=text, pictures=found))
            table = pa.Table.from_pylist(rows, schema=schema)
            pq.write_table(table, features / shard_name(shard, shards))
    (features / '_embedding.json').write_text(json.dumps(dict(checkpoint_sha256='a' * 64)))
    (features / '_summary.json').write_text(json.dumps(dict(shards=shards)))
    (folder / 'part.parquet').rename(folder / 'catalogue.parquet')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--products', type=int, default=16667)
    parser.add_argument('--pictures', type=int, default=6, help='of each product')
    args = parser.parse_args()
    if not (args.folder / 'catalogue.parquet').exists():
        make(args.folder, args.products, args.pictures)
    wall, cpu = time.perf_counter(), time.process_time()
    catalogue = args.folder / 'catalogue.parquet'
    audit = run_audit(args.folder / 'features', catalogue, args.folder / 'out')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'{audit.num_products} products, {audit.num_pictures} pictures: '
        f'{time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} s of CPU, '
        f'at most {peak:.2f} GiB, {sum(i.flagged for i in audit.issues)} issues'
    )


if __name__ == '__main__':
    main()
