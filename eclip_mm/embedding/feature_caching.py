"""Filling a feature cache: the pictures of all data sets of a config through the frozen layers."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from eclip_mm.apis.prediction import load_model
from eclip_mm.config.feature_cache import cache_pictures
from eclip_mm.datasets.feature_cache import CacheError, CacheReader, CacheWriter
from eclip_mm.datasets.transforms.cached_pictures import (
    CachedPictures,
    fields_to_store,
    read_record,
)
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.models.feature_card import take_features
from eclip_mm.registry import DATASETS, MODELS, TRANSFORMS


@dataclass
class View:
    """A view of a picture on its way into the cache.

    Attributes:
        key: see :func:`~eclip_mm.datasets.feature_cache.store.feature_key`.
        image: (3, H, W) uint8; None for a picture that cannot be decoded.
        stored: what is kept beside the features, or the reason in ``error``.
    """

    key: str
    image: Tensor | None
    stored: dict


class CacheJob:
    """The views of all pictures that training and evaluation of a config read.

    Args:
        cfg: ``Config`` with ``feature_cache``; it is not changed.
        checkpoint: weights of the tower; None for those that the config names.
        device: of the model.
        amp: compute the features in bf16, which is several times faster where the processor has
            it, and costs precision.

    Raises:
        ValueError: the tower is not frozen.
        CacheError: the pipelines give pictures of different sizes.
    """

    def __init__(
        self, cfg, checkpoint: str | None = None, device: str = 'cpu', amp: bool = False
    ) -> None:
        cfg = copy.deepcopy(cfg)
        self.folder = cfg.feature_cache.folder
        self.sources: list[tuple[Dataset, CachedPictures]] = []
        known = set()
        for dataset_cfg in cache_pictures(cfg, folder=None):
            if (content := repr(sorted(dataset_cfg.items()))) not in known:
                known.add(content)  # validation and test are often the same
                self.sources.append(_open(dataset_cfg))
        sizes = {tuple(_first_picture(*source).shape[1:]) for source in self.sources}
        if len(sizes) > 1:
            raise CacheError(
                f'the pipelines give pictures of {" and ".join(map(str, sorted(sizes)))} pixels; '
                'a cache holds one size: let all pipelines end at the same'
            )
        model = _build(cfg, checkpoint, device)
        self.amp = amp
        card = take_features(model, *sizes)
        self.card = replace(card, precision='bfloat16' if amp else 'float32')
        self.encoder = model.network.image_encoder
        self.data_preprocessor = model.data_preprocessor

    def count(self) -> tuple[int, int]:
        """Number of pictures, and of their views, in all data sets."""
        pictures = [
            sum(len(dataset.records(item)) for item in range(len(dataset)))
            for dataset, _ in self.sources
        ]
        views = sum(
            n * transform.views for n, (_, transform) in zip(pictures, self.sources, strict=True)
        )
        return sum(pictures), views

    def views(
        self, known: CacheReader | None, part: int, num_parts: int, num_workers: int
    ) -> Iterator[list[View]]:
        """The views of one picture after the other, those left out that are stored already.

        Args:
            known: the cache as it is.
            part, num_parts: items of this process: every so many-th.
            num_workers: processes that decode pictures.
        """
        for dataset, transform in self.sources:
            pictures = _PictureViews(
                dataset, transform, known, range(part, len(dataset), num_parts)
            )
            yield from DataLoader(
                pictures, batch_size=None, num_workers=num_workers, generator=torch.Generator()
            )

    @torch.no_grad()
    def features(self, images: list[Tensor]) -> np.ndarray:
        """Features (B, ...) of B uint8 pictures (3, H, W)."""
        device = next(self.encoder.parameters()).device
        batch = torch.stack(images).to(device, torch.float32)
        batch = batch.sub_(self.data_preprocessor.mean).div_(self.data_preprocessor.std)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.amp):
            features = self.encoder.boundary.below(batch)
        return features.float().cpu().numpy()


def fill_cache(
    job: CacheJob, part: int = 0, num_parts: int = 1, batch_size: int = 8, num_workers: int = 0
) -> Iterator[tuple[int, int]]:
    """Compute and store what is missing in a cache.

    Several processes may fill a folder at once, each with a ``part`` of its own, and a run that
    was killed is continued by starting it again, with any number of parts.

    Args:
        job: what to store.
        part, num_parts: which part of the items this process does.
        batch_size: pictures at a time.
        num_workers: processes that decode pictures.

    Yields:
        Number of views that are stored, and of those that cannot be decoded, after each batch.
    """
    with CacheWriter(job.folder, job.card) as writer:
        known = CacheReader(job.folder)
        waiting: list[View] = []
        here: set[str] = set()
        for picture in job.views(known, part, num_parts, num_workers):
            num_broken = num_stored = 0
            for view in picture:
                if view.key in here:  # the same picture of another product
                    continue
                here.add(view.key)
                if view.image is None:
                    writer.add_broken(view.key, view.stored['error'])
                    num_broken += 1
                else:
                    waiting.append(view)
            while len(waiting) >= batch_size:
                num_stored += _store(job, writer, waiting[:batch_size])
                waiting = waiting[batch_size:]
            yield num_stored, num_broken
        if waiting:
            yield _store(job, writer, waiting), 0


def _store(job: CacheJob, writer: CacheWriter, views: list[View]) -> int:
    features = job.features([view.image for view in views])
    for view, row in zip(views, features, strict=True):
        writer.add(view.key, row, view.stored)
    return len(views)


class _PictureViews(IterableDataset):
    """The missing views of one picture after the other, shared among the workers of a loader."""

    def __init__(
        self,
        dataset: Dataset,
        transform: CachedPictures,
        known: CacheReader | None,
        items: range,
    ) -> None:
        self.dataset, self.transform, self.known, self.items = dataset, transform, known, items

    def __iter__(self) -> Iterator[list[View]]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for item in self.items[first::step]:
            for record in self.dataset.records(item):
                try:
                    content = read_record(record, {})
                except ImageDecodeError:
                    continue  # training and evaluation do not find it either
                yield list(self._views(record, content))

    def _views(self, record: dict, content: bytes) -> Iterator[View]:
        for view in range(self.transform.views):
            key = self.transform.key(record, content, view)
            if self.known is None or key not in self.known:
                yield self._make(key, record, content, view)

    def _make(self, key: str, record: dict, content: bytes, view: int) -> View:
        try:
            made = self.transform.make(record, content, view)
        except ImageDecodeError as error:
            return View(key, None, dict(error=str(error)))
        image = torch.from_numpy(np.array(made['images'][0])).permute(2, 0, 1).contiguous()
        return View(key, image, fields_to_store(made))


def _open(dataset_cfg: dict) -> tuple[Dataset, CachedPictures]:
    """The data set of a config, and what makes its pictures."""
    dataset_cfg = dict(dataset_cfg)
    wrapped = next(t for t in dataset_cfg.pop('pipeline') if t['type'] == 'CachedPictures')
    if 'Stream' in dataset_cfg['type']:  # the same rows, which a stream gives in its own order
        kept = ('catalogue', 'sources', 'exclude_sources')
        dataset_cfg = {key: dataset_cfg[key] for key in kept if key in dataset_cfg}
        dataset_cfg['type'] = 'ProductDataset'
    transform = TRANSFORMS.build(dict(wrapped))
    return DATASETS.build(dict(dataset_cfg, pipeline=[transform])), transform


def _first_picture(dataset: Dataset, transform: CachedPictures) -> Tensor:
    """The first picture that can be decoded, (3, H, W)."""
    pictures = _PictureViews(dataset, transform, None, range(len(dataset)))
    try:
        return next(view.image for views in pictures for view in views if view.image is not None)
    except StopIteration:
        raise CacheError(f'{dataset}: no picture can be decoded') from None


def _build(cfg, checkpoint: str | None, device: str) -> nn.Module:
    if checkpoint is not None:
        return load_model(cfg, checkpoint, device)
    model_cfg = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model_cfg).to(device).eval()
