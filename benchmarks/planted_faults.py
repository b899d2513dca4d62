"""How many planted faults an audit finds, and how many it reports that are none.

    python benchmarks/planted_faults.py MODEL CATALOGUE --evaluation VAL --repeats 10

Embeds the catalogue once, then plants each kind of fault into 1% of the products, one at least,
and audits. A row gives, over the repeats: faults planted, precision of the first 100 that are
reported, recall, and how many the clean catalogue reports. A picture of another product is encoded
by the model, a text that is swapped takes its feature along, and a copy keeps that of its picture.
"""

import argparse
import copy
import json
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from planting import KINDS, Planter, reencode

from eclip_mm.apis import Eclip
from eclip_mm.audit import run_audit
from eclip_mm.cli.commands import main as eclip_mm
from eclip_mm.datasets import read_catalogue
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter


def read_rows(path: str, limit: int | None) -> list[dict]:
    rows = []
    for row in read_catalogue(path):
        for image in row['images']:
            if 'path' in image:
                image['bytes'] = Path(image.pop('path')).read_bytes()
        rows.append(row)
        if limit and len(rows) == limit:
            break
    return rows


def num_pictures(rows: list[dict]) -> int:
    return sum(len(row['images']) for row in rows)


def write_rows(rows: list[dict], path: Path) -> Path:
    with ParquetCatalogueWriter(path) as writer:
        for row in rows:
            writer.write(row)
    return path


def write_features(products: list[dict], schema: pa.Schema, like: Path, to: Path) -> Path:
    to.mkdir()
    table = pa.Table.from_pylist(products, schema=schema)
    pq.write_table(table, to / 'features-000000-of-000001.parquet')
    for name in ('_embedding.json', '_summary.json'):
        content = json.loads((like / name).read_text())
        content.update(shards=1) if name == '_summary.json' else None
        (to / name).write_text(json.dumps(content))
    return to


def leaks(
    training: list[dict], clean: list[dict], count: int, seed: int
) -> tuple[list[dict], set]:
    """The evaluation with some pictures of training, compressed again."""
    rows, planted, rng = copy.deepcopy(clean), set(), np.random.default_rng(seed)
    for _ in range(count):
        source = training[rng.integers(len(training))]['images'][0]
        row = rows[rng.integers(len(rows))]
        row['images'].append(dict(source, bytes=reencode(source['bytes'], 0.9, 70)))
        planted.add((row['product_id'], len(row['images']) - 1))
    return rows, planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', help='checkpoint or folder of an exported model')
    parser.add_argument('catalogue')
    parser.add_argument('--evaluation')
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--fraction', type=float, default=0.01)
    parser.add_argument('--limit', type=int, help='first products of the catalogue')
    parser.add_argument('--features', help='folder to keep the features in, or to take them from')
    args = parser.parse_args()
    clean = read_rows(args.catalogue, args.limit)
    evaluation = read_rows(args.evaluation, None) if args.evaluation else None
    eclip = Eclip(args.model)

    def encode(content: bytes):
        [found] = eclip.encode([Image.open(BytesIO(content)).convert('RGB')], strict=True)
        return found['vector']

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        catalogue = write_rows(clean, folder / 'clean.parquet')
        features = Path(args.features or folder / 'features')
        if not (features / '_summary.json').exists():
            command = ['embed', 'embed.py', args.model, str(catalogue), str(features)]
            eclip_mm([*command, '--per', 'picture', '--features', 'image', 'text'])
        shards = sorted(features.glob('features-*.parquet'))
        schema = pq.read_schema(shards[0])
        products = pa.concat_tables([pq.read_table(shard) for shard in shards]).to_pylist()
        paths = {}
        if evaluation:
            paths['evaluation'] = write_rows(evaluation, folder / 'evaluation.parquet')
        alone = run_audit(features, catalogue, folder / 'alone', **paths)
        totals = {
            kind: dict(planted=0, found=0, first=0, right=0) for kind in (*KINDS, 'in_training')
        }
        for seed in range(args.repeats):
            planter = Planter(copy.deepcopy(clean), copy.deepcopy(products), encode, seed)
            planter.plant(args.fraction)
            if evaluation:
                count = max(1, round(args.fraction * num_pictures(evaluation)))
                leaked, planter.planted['in_training'] = leaks(clean, evaluation, count, seed)
                paths['evaluation'] = write_rows(leaked, folder / f'evaluation{seed}.parquet')
            rows = write_rows(planter.rows, folder / f'{seed}.parquet')
            found = write_features(planter.features, schema, features, folder / f'features{seed}')
            audit = run_audit(found, rows, folder / f'out{seed}', **paths)
            for kind, truth in planter.planted.items():
                reported = [
                    (issue.product_id, issue.picture)
                    for issue in audit.issues
                    if issue.kind == kind and issue.flagged
                ]
                first = reported[:100]
                totals[kind]['planted'] += len(truth)
                totals[kind]['found'] += len(truth & set(reported))
                totals[kind]['first'] += len(first)
                totals[kind]['right'] += len(truth & set(first))
            print(f'# {seed + 1} of {args.repeats}', flush=True)
    print(f'{len(clean)} products, {num_pictures(clean)} pictures')
    print('| kind | planted | precision of the first 100 | recall | reported of the clean one |')
    print('|---|---:|---:|---:|---:|')
    for kind, n in totals.items():
        if n['planted']:
            precision = n['right'] / n['first'] if n['first'] else float('nan')
            alarms = sum(i.kind == kind and i.flagged for i in alone.issues)
            print(
                f'| {kind} | {n["planted"]} | {precision:.2f} | {n["found"] / n["planted"]:.2f} | '
                f'{alarms} |'
            )


if __name__ == '__main__':
    main()
