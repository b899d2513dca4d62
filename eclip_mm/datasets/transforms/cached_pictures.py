"""A fixed number of augmented views of each picture, as pictures or from a feature cache."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose

from eclip_mm.datasets.feature_cache import CacheError, open_cache
from eclip_mm.datasets.feature_cache.store import feature_key
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.registry import TRANSFORMS

#: what transforms keep a list of, with an entry for each picture
PER_PICTURE = ('images', 'boxes', 'box_product_ids')


@TRANSFORMS.register_module()
class CachedPictures:
    """Loads and augments pictures, or takes the features of the result from a cache.

    View k of a picture is what the transforms make with random numbers that follow from the
    picture's bytes, k and ``seed`` alone: a training from the cache therefore sees the same views
    as one without it (up to the rounding of float16).

    Reads ``image_records``. Adds what the transforms add; with a cache, ``images`` holds float16
    arrays of features, ``img_shape`` is the size of the pictures they are of, and ``picture`` is
    the first of these if ``show_picture``.

    Args:
        transforms: configs of the transforms that load and augment pictures.
        views: number of views of a picture; 1 for transforms without random numbers.
        folder: of the cache, made by ``tools/cache_features.py``; None runs the transforms.
        seed: seed of the views.
        show_picture: decode the first picture beside its features, for metrics and drawings that
            look at it.

    Raises:
        ValueError: ``views`` is less than 1, or the first transform does not load pictures.
        CacheError: the folder is no cache. At a sample: the features of its picture are not in
            the cache.
        ImageDecodeError: a picture cannot be decoded.
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        views: int = 1,
        folder: str | Path | None = None,
        seed: int = 0,
        show_picture: bool = False,
    ) -> None:
        if views < 1:
            raise ValueError(f"CachedPictures: 'views' is {views}; give at least 1")
        self.views = views
        self.seed = seed
        self.show_picture = show_picture
        self.recipe = recipe_of(transforms, seed)
        self.transforms = Compose([TRANSFORMS.build(dict(t)) for t in transforms])
        self.reader = None if folder is None else open_cache(folder)

    def __call__(self, results: dict) -> dict:
        seen: dict[bytes, list[int]] = {}
        made = []
        for place, record in enumerate(results['image_records']):
            content = read_record(record, results, place)
            view = self._draw_view(results['rng'], seen.setdefault(content, []))
            if self.reader is None:
                made.append(self.make(record, content, view, results, place))
            else:
                made.append(self._find(record, content, view, results, place))
                if self.show_picture and place == 0:
                    shown = self.make(record, content, view, results)['images'][0]
                    results['picture'] = shown
        for key in PER_PICTURE:
            if key in made[0]:
                results[key] = [value for one in made for value in one[key]]
        first = made[0]
        results.update({key: first[key] for key in first if key not in PER_PICTURE})
        return results

    def _draw_view(self, rng: np.random.Generator, taken: list[int]) -> int:
        """A view that the sample does not have of this picture yet, if there is one."""
        if self.views == 1:
            return 0
        free = [view for view in range(self.views) if view not in taken] or range(self.views)
        view = int(free[rng.integers(len(free))])
        taken.append(view)
        return view

    def make(
        self, record: dict, content: bytes, view: int, results: dict | None = None, place: int = 0
    ) -> dict:
        """Run the transforms on one picture.

        Args:
            record: of the picture, as in ``image_records``.
            content: its bytes.
            view: which of its views.
            results: the sample, for errors that name its product.
            place: of the picture in the sample.

        Returns:
            What the transforms have added.
        """
        picture = int.from_bytes(sha256(content).digest()[:8], 'big')
        given = dict(
            product_id=(results or {}).get('product_id', '?'),
            image_records=[{**record, 'bytes': content}],
            rng=np.random.default_rng((self.seed, picture, view)),
        )
        known = set(given)
        try:
            made = self.transforms(given)
        except ImageDecodeError as error:
            raise ImageDecodeError(str(error), place, error.reason) from error
        return {key: made[key] for key in made if key not in known}

    def key(self, record: dict, content: bytes, view: int) -> str:
        """What the features of a view are found by."""
        return feature_key(record, content, self.recipe, view)

    def _find(self, record: dict, content: bytes, view: int, results: dict, place: int) -> dict:
        try:
            features, stored = self.reader.read(self.key(record, content, view))
        except KeyError:
            raise CacheError(
                f"picture '{record.get('image_id')}' is not in the feature cache "
                f'{self.reader.folder}: it was made of other pictures or of other transforms, or '
                'it is not complete. The same command adds what is missing: '
                'python tools/cache_features.py CONFIG'
            ) from None
        if features is None:
            raise ImageDecodeError(
                f"picture '{record.get('image_id')}' of product "
                f"'{results.get('product_id', '?')}' cannot be decoded: {stored['error']}",
                place,
                stored['error'],
            )
        boxes = np.array(stored['boxes'], dtype=np.float32).reshape(-1, 4)
        return dict(
            images=[features],
            boxes=[boxes],
            box_product_ids=[stored['box_product_ids']],
            ori_shape=tuple(stored['ori_shape']),
            img_shape=self.reader.card.picture_size,
        )

    def __repr__(self) -> str:
        folder = None if self.reader is None else str(self.reader.folder)
        return f'{type(self).__name__}({self.transforms}, views={self.views}, folder={folder})'


def fields_to_store(made: dict) -> dict:
    """What a cache keeps beside the features of a picture, as JSON values.

    Args:
        made: what :meth:`CachedPictures.make` returned.
    """
    return dict(
        boxes=[[float(x) for x in box] for box in made['boxes'][0]],
        box_product_ids=list(made['box_product_ids'][0]),
        ori_shape=[int(x) for x in made['ori_shape']],
    )


def recipe_of(transforms: Sequence[dict], seed: int = 0) -> str:
    """Hash of transforms and seed, a part of every key."""
    text = json.dumps([list(transforms), seed], sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:32]


def read_record(record: dict, results: dict, place: int = 0) -> bytes:
    """The bytes of a picture.

    Raises:
        ImageDecodeError: its file cannot be read.
    """
    if 'bytes' in record:
        return record['bytes']
    try:
        return Path(record['path']).read_bytes()
    except OSError as error:
        raise ImageDecodeError(
            f"picture '{record.get('image_id')}' of product '{results.get('product_id', '?')}' "
            f'({record["path"]}) cannot be read: {error}',
            place,
        ) from error
