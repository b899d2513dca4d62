"""The views of all pictures that go into a feature cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from eclip_mm.datasets.feature_cache import CacheError, CacheReader
from eclip_mm.datasets.storage.schema import BrokenGroupError
from eclip_mm.datasets.transforms.cached_pictures import (
    CachedPictures,
    fields_to_store,
    read_record,
)
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import DATASETS, TRANSFORMS


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


class PictureViews(IterableDataset):
    """The missing views of one picture after the other, shared among the workers of a loader.

    For an item whose row group cannot be read it gives the error; training replaces such an item
    by another.

    Args:
        dataset: whose pictures.
        transform: what makes the views.
        known: what is stored already and left out.
        items: of the data set.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: CachedPictures,
        known: CacheReader | None,
        items: range,
    ) -> None:
        self.dataset, self.transform, self.known, self.items = dataset, transform, known, items

    def __iter__(self) -> Iterator[list[View] | BrokenGroupError]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for item in self.items[first::step]:
            broken = set()
            try:
                for picture, record in self.dataset.records(item, broken):
                    views, is_broken = self._views(record)
                    if is_broken:
                        broken.add(picture)
                    yield views
            except BrokenGroupError as error:
                yield error

    def _views(self, record: dict) -> tuple[list[View], bool]:
        """Those that are missing, and whether the picture cannot be decoded."""
        try:
            content = read_record(record, {})
        except ImageDecodeError:
            return [], True  # training and evaluation do not find it either
        views, is_broken = [], False
        for view in range(self.transform.views):
            key = self.transform.key(record, content, view)
            if self.known is not None and key in self.known:
                is_broken |= self.known.is_broken(key)
            else:
                views.append(self._make(key, record, content, view))
                is_broken |= views[-1].image is None
        return views, is_broken

    def _make(self, key: str, record: dict, content: bytes, view: int) -> View:
        try:
            made = self.transform.make(record, content, view)
        except ImageDecodeError as error:
            return View(key, None, dict(error=error.reason))
        image = torch.from_numpy(np.array(made['images'][0])).permute(2, 0, 1).contiguous()
        return View(key, image, fields_to_store(made))


def open_pictures(dataset_cfg: dict) -> tuple[Dataset, CachedPictures]:
    """The data set of a config, and what makes its pictures."""
    dataset_cfg = dict(dataset_cfg)
    wrapped = next(t for t in dataset_cfg.pop('pipeline') if t['type'] == 'CachedPictures')
    if 'Stream' in dataset_cfg['type']:  # the same rows, which a stream gives in its own order
        kept = ('catalogue', 'sources', 'exclude_sources', 'where')
        dataset_cfg = {key: dataset_cfg[key] for key in kept if key in dataset_cfg}
        dataset_cfg['type'] = 'ProductDataset'
    transform = TRANSFORMS.build(dict(wrapped))
    return DATASETS.build(dict(dataset_cfg, pipeline=[transform])), transform


def first_picture(dataset: Dataset, transform: CachedPictures) -> Tensor:
    """The first picture that can be decoded, (3, H, W)."""
    reason = ''
    for views in PictureViews(dataset, transform, None, range(len(dataset))):
        if isinstance(views, BrokenGroupError):
            reason = reason or f': {views}'
            continue
        for view in views:
            if view.image is not None:
                return view.image
    raise CacheError(f'{dataset}: no picture can be decoded{reason}')


def count_views(
    sources: Sequence[tuple[Dataset, CachedPictures]], most: int | None = None
) -> tuple[int, int]:
    """Number of pictures, and of their views, without reading a picture.

    A picture that several data sets read counts once, and each of its views once.

    Args:
        sources: data sets, and what makes their pictures.
        most: largest number of views of a picture; None for that of the transforms.
    """
    counts: dict[tuple, np.ndarray] = {}
    for dataset, transform in sources:
        views = transform.views if most is None else min(transform.views, most)
        for catalogue, has_boxes, numbers in dataset.places():
            key = (catalogue.file_names, has_boxes, transform.recipe)
            found = counts.setdefault(key, np.zeros(len(catalogue.image_source_codes), np.int32))
            found[numbers] = np.maximum(found[numbers], views)
    used: dict[tuple, np.ndarray] = {}
    for (names, *_), found in counts.items():
        used[names] = used.get(names, False) | (found > 0)
    return sum(int(u.sum()) for u in used.values()), sum(int(c.sum()) for c in counts.values())
