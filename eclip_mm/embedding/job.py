"""Embedding a catalogue, in this process or on a cluster through Ray Data."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from eclip_mm.apis import load_config_and_model
from eclip_mm.apis.catalogue_names import set_names
from eclip_mm.apis.model_sources import load_source
from eclip_mm.checkpoint.model_folder import checkpoint_of
from eclip_mm.config import load_config
from eclip_mm.config.from_checkpoint import saved_pipeline
from eclip_mm.datasets.catalogue import Catalogue, open_files
from eclip_mm.datasets.picture_choice import choose_all
from eclip_mm.datasets.samples import SampleBuilder
from eclip_mm.datasets.storage.stored_files import find_files
from eclip_mm.embedding.features import ProductEmbedder
from eclip_mm.embedding.products import ProductBlocks
from eclip_mm.embedding.row_ranges import RowRange, plan_row_ranges
from eclip_mm.embedding.shards import ShardWriter, read_counts, shard_name, shard_schema
from eclip_mm.models.precision import bf16_is_faster
from eclip_mm.utils.cpus import num_cpus
from eclip_mm.utils.files import sha256_of, write_whole_json

# Programs that read a folder of Parquet files skip names that begin with an underscore.
MANIFEST, SUMMARY = '_embedding.json', '_summary.json'


@dataclass(frozen=True)
class EmbedOptions:
    """What decides the features and how they are made; the same on every machine.

    Attributes:
        config, checkpoint: config of the training, or one of configs/evaluation, and the weights;
            a folder of ``tools/export.py`` has its own config, and goes with configs/embed.py.
        catalogue: files, folders or patterns; paths, or addresses of a file system that ``fsspec``
            knows (``s3://...``).
        out: local folder of the shards.
        features, per: see :func:`shard_schema`.
        sources: use only pictures of these; None for all.
        rows_per_shard: rows of the catalogue that make a shard.
        batch_size: pictures at a time.
        num_workers: processes that decode pictures, per model; 0 decodes in the process of the
            model. None is 0, but up to 8 beside a GPU of this machine.
        device: device of the model; None for a GPU where there is one. All features of a folder
            are made on one kind, such as ``cuda``.
        amp: bf16 autocast; None where the device is faster with it, see :func:`bf16_is_faster`.
            The machine that starts the run decides for all.
        storage_options: passed to the file system of the catalogue; they may hold credentials and
            are not stored.
    """

    config: str
    checkpoint: str
    catalogue: list[str]
    out: str
    features: tuple[str, ...] = ('image', 'text', 'instance')
    per: tuple[str, ...] = ('product',)
    sources: list[str] | None = None
    rows_per_shard: int = 4096
    batch_size: int = 64
    num_workers: int | None = None
    device: str | None = None
    amp: bool | None = False
    storage_options: dict | None = None

    def identity(self) -> dict:
        """The options that must not change when an interrupted run is continued."""
        # catalogue and checkpoint are known by their content; no feature depends on the others
        free = ('catalogue', 'checkpoint', 'out', 'num_workers', 'storage_options')
        content = {key: value for key, value in asdict(self).items() if key not in free}
        return dict(content, device=torch.device(self.device or local_device()).type)


def local_device() -> str:
    """``cuda`` if this machine has a GPU, otherwise ``cpu``."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


class ShardEmbedder:
    """Loads the model once and embeds one row range after the other.

    Args:
        options: what to make.
        num_shards: number of all shards.
    """

    def __init__(self, options: EmbedOptions, num_shards: int) -> None:
        self.options = options
        self.num_shards = num_shards
        device = options.device or local_device()
        model, pipeline = _load(options, device)
        self.builder = SampleBuilder(pipeline, choose_all)
        self.embed = ProductEmbedder(model, options.features, options.batch_size, options.amp)
        if 'instance' in options.features:
            with self.embed.precision():
                texts, pipelines = texts_of(options), [self.builder.pipeline]
                set_names(model, options.catalogue, texts, pipelines)
        self.schema = shard_schema(options.features, options.per, model.network.embed_dims)

    def __call__(self, rows: RowRange) -> dict:
        """Write one shard; returns its counts, see :meth:`ShardWriter.finish`."""
        return self.fill(rows).finish()

    def fill(self, rows: RowRange) -> ShardWriter:
        """Embed one row range; the features are in the writer, which is to write them.

        Raises:
            RuntimeError: the file has other rows than when the run was planned.
        """
        options = self.options
        writer = ShardWriter(
            Path(options.out), rows.shard, self.num_shards, rows.path, self.schema
        )
        products = ProductBlocks(
            rows, self.builder, options.batch_size, options.sources, options.storage_options
        )
        blocks = DataLoader(
            products,
            batch_size=None,  # an item is a block already
            num_workers=options.num_workers or 0,
        )
        for block in blocks:
            writer.add(block, self.embed)
        if writer.num_rows != rows.num_rows:
            raise RuntimeError(
                f'{rows.path}: {writer.num_rows} rows were read between row {rows.start + 1} and '
                f'{rows.stop}, and there were {rows.num_rows} when the run was planned; the file '
                'was changed since, or this machine has another one under its name'
            )
        return writer


def embed_catalogue(
    options: EmbedOptions,
    run: Callable[[EmbedOptions, int, list[RowRange]], Iterable[dict]] | None = None,
    progress: Callable[[Iterable, int, int], Iterable] = lambda counts, total, done: counts,
) -> dict:
    """Write those shards of the features of a catalogue that are missing.

    Args:
        options: what to make.
        run: embeds row ranges and yields the counts of each, in any order: :func:`run_here` (the
            default) or a :class:`~eclip_mm.embedding.cluster.RayRun`. The options that it gets
            name a device. The default device is what ``run.device()`` returns, if it has that
            method.
        progress: wraps the counts; gets the number of all shards and of those that were there
            before.

    Returns:
        Sums over all shards, see :meth:`ShardWriter.finish`, and the number of ``shards``; also in
        ``_summary.json``.

    Raises:
        ValueError: the folder holds features that were made with other options.
        RuntimeError: a catalogue file changed meanwhile, a row was lost, or a shard is missing at
            the end.
    """
    out = Path(options.out)
    ranges, files = plan_row_ranges(
        options.catalogue, options.rows_per_shard, options.storage_options
    )
    if options.device is None:  # decided once, not by each machine of a cluster
        options = replace(options, device=getattr(run, 'device', local_device)())
    if options.amp is None:
        options = replace(options, amp=bf16_is_faster(options.device))
        chosen = (
            'bf16, which is faster' if options.amp else 'float32: bf16 is not known to be faster'
        )
        print_log(f'{options.device}: the features are computed in {chosen}')
    if options.num_workers is None:
        beside_gpu = run is None and options.device.startswith('cuda')
        options = replace(options, num_workers=min(8, num_cpus()) if beside_gpu else 0)
    _check_manifest(out, options, files)
    paths = [out / shard_name(part.shard, len(ranges)) for part in ranges]
    missing = [part for part, path in zip(ranges, paths, strict=True) if not read_counts(path)]
    if missing:
        made = (run or run_here)(options, len(ranges), missing)
        for _ in progress(made, len(ranges), len(ranges) - len(missing)):
            pass
    for part in out.glob('.*.part'):  # left by processes that were killed
        part.unlink(missing_ok=True)
    summary = dict(rows=0, written=0, skipped=0, skipped_pictures=0)
    for part, path in zip(ranges, paths, strict=True):
        counts = read_counts(path)
        if counts is None or not (
            part.num_rows == counts['rows'] == counts['written'] + counts['skipped']
        ):
            raise RuntimeError(
                f'{path}: the shard is missing or has lost rows: {counts} of the {part.num_rows} '
                f'of {part.path}; remove it and run again'
            )
        summary = {key: value + counts[key] for key, value in summary.items()}
    summary['shards'] = len(ranges)
    write_whole_json(out / SUMMARY, summary)
    return summary


def _load(options: EmbedOptions, device: str) -> tuple[nn.Module, list]:
    """The model, and the transforms of its test set.

    Raises:
        ValueError: the model is a folder, and the config has a model as well.
    """
    if not Path(options.checkpoint).is_dir():
        cfg, model = load_config_and_model(options.config, options.checkpoint, device=device)
        return model, saved_pipeline(cfg, options.config, options.checkpoint)
    if 'model' in load_config(options.config):
        raise ValueError(
            f'{options.config} has a model, and {options.checkpoint} is a folder with its own: '
            'give configs/embed.py'
        )
    loaded = load_source(options.checkpoint)
    pipeline = [*loaded.pictures, loaded.tokenize, dict(type='PackProductInputs')]
    return loaded.model.to(device), pipeline


def texts_of(options: EmbedOptions) -> Iterator[str]:
    """The texts of the whole catalogue; it is opened at the first of them."""
    files = open_files(find_files(options.catalogue, options.storage_options))
    yield from Catalogue(files, check_files=False).texts()


def run_here(options: EmbedOptions, num_shards: int, missing: list[RowRange]) -> Iterator[dict]:
    """Embed row ranges in this process; a shard is written while the next one is computed."""
    embedder = ShardEmbedder(options, num_shards)
    written: Future | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        for rows in missing:
            writer = embedder.fill(rows)
            if written is not None:
                yield written.result()
            written = pool.submit(writer.finish)
        if written is not None:
            yield written.result()


def _check_manifest(out: Path, options: EmbedOptions, files: list[dict]) -> None:
    """Store what the features are made of, or compare it with what the folder says."""
    if Path(options.checkpoint).is_dir():
        checkpoint = checkpoint_of(options.checkpoint)['sha256']
    else:
        checkpoint = sha256_of(options.checkpoint)
    manifest = dict(options.identity(), checkpoint_sha256=checkpoint, files=files)
    manifest = json.loads(json.dumps(manifest))  # as it is read from a file
    path = out / MANIFEST
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_whole_json(path, manifest)
        return
    there = json.loads(path.read_text(encoding='utf-8'))
    for key in {**manifest, **there}:
        if manifest.get(key) != there.get(key):
            raise ValueError(
                f'{path}: the features there were made with {key}={there.get(key)!r}, now it is '
                f'{manifest.get(key)!r}; use another folder, or remove this one'
            )
