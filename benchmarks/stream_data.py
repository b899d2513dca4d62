"""Stream a catalogue of any size; measure footers, time to the first batch, memory of workers.

    python benchmarks/stream_data.py                        # 1,000,000 products, 2 workers
    python benchmarks/stream_data.py --products 20000 --batches 50

The catalogue is written once to ``--folder`` (2.9 kB per product). The two pictures of a product
are drawn from a pool of 256 encoded JPEGs of 64 x 64 pixels, so that writing takes minutes;
reading and decoding cost as much as if all pictures were different. ``resident`` is the memory of
a worker according to /proc, ``unshared`` is without the pages that it still shares with the main
process (Python and its libraries). The last line is JSON.
"""

import argparse
import io
import json
import os
import time
from pathlib import Path

import numpy as np
from memory import resident, unshared
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import trange

from eclip_mm.datasets import ParquetCatalogueWriter, ProductStream, collate_products

FILE_ROWS = 100_000
CROP = 56


def write_catalogue(folder: Path, num_products: int) -> None:
    """Files of 100,000 products, each with a merchant's and a customer's picture."""
    rng = np.random.default_rng(0)
    pool = []
    for _ in range(256):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(file, 'JPEG')
        pool.append(file.getvalue())
    numbers = trange(num_products, unit=' products', mininterval=10, desc='writing')
    writer = None
    for i in numbers:
        if i % FILE_ROWS == 0:
            if writer is not None:
                writer.close()
            writer = ParquetCatalogueWriter(folder / f'{i // FILE_ROWS:05d}.parquet')
        a, b = rng.integers(256, size=2)
        writer.write(
            dict(
                product_id=f'p{i}',
                text=f'Product {i} with a title of the usual length, colour {a}, size {b}',
                category=f'c{i % 100}',
                images=[
                    dict(bytes=pool[a], source='merchant'),
                    dict(bytes=pool[b], source='comment'),
                ],
            )
        )
    writer.close()


def characters(text: str, max_length: int) -> list[int]:
    """A tokenizer that costs nothing, since reading is measured."""
    return [2, *(ord(c) % 256 + 4 for c in text)][: max_length - 1] + [3]


def make_loader(args, start_batch: int = 0) -> tuple[DataLoader, float]:
    """A loader of the stream, and the seconds that reading the footers took."""
    stream = ProductStream(
        str(args.folder),
        [
            dict(type='LoadProductImages'),
            dict(type='RandomResizedCrop', size=CROP, scale=(0.5, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='TokenizeText', tokenizer=characters, max_length=32),
            dict(type='PackProductInputs'),
        ],
        shuffle_rows=args.shuffle_rows,
        batch_size=args.batch_size,
    )
    begin = time.perf_counter()
    stream.full_init()
    seconds = time.perf_counter() - begin
    stream.set_start(start_batch * args.batch_size)
    return DataLoader(
        stream,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        collate_fn=collate_products,
        drop_last=True,
    ), seconds


def time_to_first(loader: DataLoader) -> tuple:
    """The running iteration, and the seconds until its first batch."""
    begin = time.perf_counter()
    batches = iter(loader)
    next(batches)
    return batches, time.perf_counter() - begin


def main() -> None:
    """Write the catalogue if it is missing, stream it, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--products', type=int, default=1_000_000)
    parser.add_argument('--folder', type=Path, help='default: /tmp/eclip_mm_stream_{products}')
    parser.add_argument(
        '--batches', type=int, help='number of batches, at least 3; default: the whole epoch'
    )
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--num-workers', type=int, default=2)
    parser.add_argument('--shuffle-rows', type=int, default=2048)
    args = parser.parse_args()
    args.folder = args.folder or Path(f'/tmp/eclip_mm_stream_{args.products}')
    if not args.folder.exists():
        part = args.folder.with_name(args.folder.name + '.part')
        part.mkdir(parents=True, exist_ok=True)
        write_catalogue(part, args.products)
        part.rename(args.folder)

    loader, footers = make_loader(args)
    batches, first = time_to_first(loader)
    # without workers this process reads
    pids = [worker.pid for worker in getattr(batches, '_workers', ())] or [os.getpid()]
    num_batches = min(args.batches or len(loader), len(loader))
    if num_batches < 3:
        parser.error(f'{num_batches} batches do not show growth; use at least 3')
    marks = []
    begin = time.perf_counter()
    for done in trange(1, num_batches, unit=' batches', mininterval=10, desc='streaming'):
        next(batches)
        if done % max(1, num_batches // 20) == 0:
            marks.append([(resident(pid), unshared(pid)) for pid in pids])
    seconds = time.perf_counter() - begin
    counts = loader.dataset.faults.counts()
    assert not any(counts.values()), counts
    del batches
    _, first_in_the_middle = time_to_first(make_loader(args, len(loader) // 2)[0])

    def mib(marks: list, kind: int) -> list[int]:
        """The most that a worker held at each mark."""
        return [round(max(worker[kind] for worker in mark) / 2**20) for mark in marks]

    print('resident, MiB:', *mib(marks, 0))
    print('unshared, MiB:', *mib(marks, 1))
    result = dict(
        products=args.products,
        gib=round(sum(f.stat().st_size for f in args.folder.iterdir()) / 2**30, 2),
        workers=args.num_workers,
        seconds_footers=round(footers, 3),
        seconds_to_first_batch=round(first, 3),
        seconds_to_first_batch_in_the_middle=round(first_in_the_middle, 3),
        products_per_second=round((num_batches - 1) * args.batch_size / seconds),
        batches=num_batches,
        max_resident_mib=max(mib(marks, 0)),
        max_unshared_mib=max(mib(marks, 1)),
        # growth between the first and the second half
        unshared_growth_mib=max(mib(marks, 1)[len(marks) // 2 :])
        - max(mib(marks, 1)[: len(marks) // 2]),
    )
    print(json.dumps(result))


if __name__ == '__main__':
    main()
