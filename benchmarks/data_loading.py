"""Compare our pipeline with `datasets` + PIL: pictures per second, the same augmentation.

    pip install datasets
    python benchmarks/data_loading.py --photos .../GroceryStoreDataset

Two pictures of every product are decoded, cropped (50 to 100% of the area, 224 px, bicubic),
flipped and stacked. Each of these ways reads the same products from Parquet in one process:

- peer: `datasets`, streaming; its `Image` feature decodes, PIL crops and resizes. It decodes all
  pictures of a row, so products have only two.
- plain: `ProductDataset` with `LoadProductImages` and `RandomResizedCrop`.
- cropped: `ProductDataset` with `LoadCroppedImages`.
- stream: `ProductStream` with `LoadCroppedImages`.

The time is the CPU time of the process in the fastest of several passes, which other processes
affect little. Pictures of 348 px are the photos themselves; larger ones are photos side by side,
not enlarged, with the JPEG tables of the first. Without `--photos` they are generated.
`difference` compares the pictures of plain and cropped before flipping. The last line is JSON.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from eclip_mm.datasets import ParquetCatalogueWriter, ProductDataset, ProductStream
from eclip_mm.registry import TRANSFORMS

SIZE = 224
SIDES = (348, 800, 1200, 1600)
SCALE = (0.5, 1.0)
WAYS = ('peer', 'plain', 'cropped', 'stream')


def source_photos(folder: Path | None) -> list[Image.Image]:
    """Photos of about 348 px to make all pictures of."""
    if folder is not None:
        files = sorted(folder.rglob('train/**/*.jpg'))
        if not files:
            raise SystemExit(f'{folder}: there is no train/**/*.jpg in it')
        return [Image.open(file) for file in files[:: max(1, len(files) // 64)][:64]]
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(64):
        image = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize(
            (348, 348)
        )
        grain = rng.integers(-8, 9, (348, 348, 1))
        file = io.BytesIO()
        Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(
            file, 'JPEG'
        )
        photos.append(Image.open(file))
    return photos


def picture(photos: list[Image.Image], side: int, rng: np.random.Generator) -> bytes:
    """An encoded picture of photos side by side."""
    tiles = -(-side // 348)
    image = Image.new('RGB', (348 * tiles, 348 * tiles))
    for x in range(tiles):
        for y in range(tiles):
            photo = photos[rng.integers(len(photos))].convert('RGB').resize((348, 348))
            image.paste(photo, (348 * x, 348 * y))
    file = io.BytesIO()
    tables = photos[0].quantization
    image.crop((0, 0, side, side)).save(file, 'JPEG', qtables=tables, subsampling='4:2:0')
    return file.getvalue()


def write(folder: Path, side: int, num_products: int, photos: list[Image.Image]) -> int:
    """Write our catalogue and the peer's with the same pictures; returns mean bytes of one."""
    rng = np.random.default_rng(side)
    pictures = [[picture(photos, side, rng) for _ in range(2)] for _ in range(num_products)]
    with ParquetCatalogueWriter(folder / 'ours.parquet') as writer:
        for i, pair in enumerate(pictures):
            images = [
                dict(bytes=data, source=source)
                for data, source in zip(pair, ('merchant', 'comment'), strict=True)
            ]
            writer.write(dict(product_id=str(i), text=f'Product {i}', images=images))
    table = pa.table(
        dict(
            text=[f'Product {i}' for i in range(num_products)],
            images=[[dict(bytes=data, path=None) for data in pair] for pair in pictures],
        )
    )
    pq.write_table(table, folder / 'peer.parquet', compression='none', row_group_size=16)
    return sum(len(data) for pair in pictures for data in pair) // (2 * num_products)


def crop_configs(kind: str) -> list[dict]:
    options = dict(size=SIZE, scale=SCALE, interpolation='bicubic')
    if kind == 'plain':
        return [dict(type='LoadProductImages'), dict(type='RandomResizedCrop', **options)]
    return [dict(type='LoadCroppedImages', **options)]


def tokens(text: str, max_length: int) -> list[int]:
    """A tokenizer that costs nothing."""
    return [2, *text.encode()][: max_length - 1] + [3]


def pipeline(kind: str) -> list[dict]:
    return [
        *crop_configs(kind),
        dict(type='RandomFlip', prob=0.5),
        dict(type='TokenizeText', tokenizer=tokens),
        dict(type='PackProductInputs'),
    ]


def peer(folder: Path) -> Callable[[], Iterator]:
    """Samples of `datasets` with PIL; what a training on it would do."""
    import datasets

    crop = TRANSFORMS.build(dict(type='RandomResizedCrop', size=SIZE, scale=SCALE))
    rng = np.random.default_rng(0)

    def augment(row: dict) -> dict:
        views = []
        for image in row['images']:
            image = image.convert('RGB')
            image = image.crop(crop.draw_region(*image.size, rng))
            image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            if rng.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            views.append(np.asarray(image))
        ids = torch.tensor(tokens(row['text'], 55))
        images = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).contiguous()
        return dict(images=images, input_ids=ids)

    features = datasets.Features(
        text=datasets.Value('string'), images=datasets.List(datasets.Image())
    )
    stream = datasets.load_dataset(
        'parquet',
        data_files=str(folder / 'peer.parquet'),
        split='train',
        streaming=True,
        features=features,
    )
    return lambda: map(augment, stream)


def ours(folder: Path, way: str) -> Callable[[], Iterator]:
    """Samples of our datasets in the order of the catalogue."""
    path = str(folder / 'ours.parquet')
    if way == 'stream':
        options = dict(shuffle=False, num_virtual_workers=1, batch_size=1)
        stream = ProductStream(path, pipeline('cropped'), **options)
        return lambda: iter(stream)
    dataset = ProductDataset(path, pipeline(way))
    return lambda: (dataset[i] for i in range(len(dataset)))


def seconds_per_picture(samples: Callable[[], Iterator], passes: int) -> float:
    """CPU seconds per picture in the fastest pass, after one to warm up."""
    times = []
    for _ in range(passes + 1):
        begin = time.process_time()
        count = sum(1 for _ in samples())
        times.append((time.process_time() - begin) / (2 * count))
    return min(times[1:])


def difference(folder: Path) -> tuple[float, float]:
    """Mean absolute difference (of 255) and PSNR in dB of the cropped pictures of both ways."""
    plain, cropped = (
        ProductDataset(str(folder / 'ours.parquet'), [*crop_configs(kind), _keep])
        for kind in ('plain', 'cropped')
    )
    errors = np.stack([plain[i] - cropped[i] for i in range(len(plain))])
    return float(np.abs(errors).mean()), float(10 * np.log10(255**2 / (errors**2).mean()))


def _keep(results: dict) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=np.float32) for image in results['images']])


def main() -> None:
    """Measure all ways at every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--photos', type=Path, help='folder of GroceryStoreDataset')
    parser.add_argument('--products', type=int, default=48)
    parser.add_argument('--passes', type=int, default=5)
    parser.add_argument('--sides', type=int, nargs='+', default=SIDES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = source_photos(args.photos)
    result = []
    print('side  bytes/px  ' + ''.join(f'{way + "/s":>11}' for way in WAYS) + '  ratios to peer')
    for side in args.sides:
        with TemporaryDirectory() as name:
            folder = Path(name)
            size = write(folder, side, args.products, photos)
            rates = {
                way: 1
                / seconds_per_picture(
                    peer(folder) if way == 'peer' else ours(folder, way), args.passes
                )
                for way in WAYS
            }
            mean, psnr = difference(folder)
        ratios = {way: round(rates[way] / rates['peer'], 2) for way in WAYS[1:]}
        print(
            f'{side:4d}  {size / side**2:8.2f}  '
            + ''.join(f'{rates[way]:11.0f}' for way in WAYS)
            + '  '
            + ', '.join(f'{way} {ratio}' for way, ratio in ratios.items())
            + f'; difference {mean:.2f} of 255, {psnr:.1f} dB'
        )
        result.append(
            dict(
                side=side,
                bytes_per_picture=size,
                pictures_per_second={way: round(rate) for way, rate in rates.items()},
                ratio=ratios,
                mean_difference=round(mean, 3),
                psnr=round(psnr, 1),
            )
        )
    print(json.dumps(result))


if __name__ == '__main__':
    main()
