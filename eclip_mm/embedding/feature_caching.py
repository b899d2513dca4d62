"""Filling a feature cache: the pictures of all data sets of a config through the frozen layers."""

import copy
import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from eclip_mm.apis.prediction import load_model
from eclip_mm.config.feature_cache import cache_pictures
from eclip_mm.datasets.feature_cache import CacheError, CacheReader, CacheWriter
from eclip_mm.datasets.storage.schema import BrokenGroupError
from eclip_mm.datasets.transforms.cached_pictures import CachedPictures
from eclip_mm.embedding.picture_views import (
    PictureViews,
    View,
    count_views,
    first_picture,
    open_pictures,
)
from eclip_mm.models.feature_card import take_features
from eclip_mm.registry import MODELS


class CacheJob:
    """The views of all pictures that training and evaluation of a config read.

    Args:
        cfg: ``Config`` with ``feature_cache``; it is not changed.
        checkpoint: weights of the tower; None for those that the config names, in ``load_from``
            or for its towers.
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
                self.sources.append(open_pictures(dataset_cfg))
        sizes = {tuple(first_picture(*source).shape[1:]) for source in self.sources}
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
        return count_views(self.sources)

    def views_that_fit(self, num_bytes: float) -> int:
        """Largest ``feature_cache.views`` of a cache of so many bytes; 0 if there is none."""
        (_, one), (_, two) = (count_views(self.sources, most) for most in (1, 2))
        left = num_bytes / self.card.num_bytes - one  # evaluation has one view of each picture
        return 1 + int(left / max(two - one, 1)) if left >= 0 else 0

    def views(
        self, known: CacheReader | None, part: int, num_parts: int, num_workers: int
    ) -> Iterator[list[View] | BrokenGroupError]:
        """As :class:`PictureViews` of all data sets.

        Args:
            known: the cache as it is.
            part, num_parts: items of this process: every so many-th.
            num_workers: processes that decode pictures.
        """
        for dataset, transform in self.sources:
            pictures = PictureViews(
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
) -> Iterator[tuple[int, int, int]]:
    """Compute and store what is missing in a cache.

    Several processes may fill a folder at once, each with a ``part`` of its own, and a run that
    was killed is continued by starting it again, with any number of parts.

    Args:
        job: what to store.
        part, num_parts: which part of the items this process does.
        batch_size: pictures at a time.
        num_workers: processes that decode pictures.

    Yields:
        Number of views that are stored, of those that cannot be decoded, and of items of data sets
        whose row group cannot be read, after each batch. Each of these row groups is logged once.
    """
    with CacheWriter(job.folder, job.card) as writer:
        known = CacheReader(job.folder)
        waiting: list[View] = []
        here: set[str] = set()
        reported: set[str] = set()
        for picture in job.views(known, part, num_parts, num_workers):
            if isinstance(picture, BrokenGroupError):
                if str(picture) not in reported:
                    reported.add(str(picture))
                    print_log(str(picture), 'current', logging.WARNING)
                yield 0, 0, 1
                continue
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
            yield num_stored, num_broken, 0
        if waiting:
            yield _store(job, writer, waiting), 0, 0


def _store(job: CacheJob, writer: CacheWriter, views: list[View]) -> int:
    features = job.features([view.image for view in views])
    for view, row in zip(views, features, strict=True):
        writer.add(view.key, row, view.stored)
    return len(views)


def _build(cfg, checkpoint: str | None, device: str) -> nn.Module:
    if checkpoint is not None:
        return load_model(cfg, checkpoint, device)
    model_cfg = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    if cfg.get('load_from'):  # as a training starts from it
        load_checkpoint(model, cfg.load_from, map_location='cpu')
    return model.to(device).eval()
