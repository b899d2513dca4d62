"""Pictures that are there twice: in a product, under several ids, or in an evaluation as well."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eclip_mm.audit.issues import Issue
from eclip_mm.audit.pictures import Picture

#: mean and largest difference of two miniatures, in 256 levels, up to which they are of one
#: picture. On photos of groceries and snacks, copies at 0.8 of the size and a JPEG quality of 60
#: have means of up to 2.4, and different photos of at least 5.1. The largest difference tells
#: small things on a large white background apart.
SAME = (3.0, 48)
#: the same for pictures of two products, which may well be alike: a mistake costs a picture
SAME_ACROSS = (1.0, 12)
_ROWS = 64


class PictureIndex:
    """Finds the pictures that are the same as one: their files are, or they look alike.

    Args:
        pictures: of the catalogue.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self._by_file: dict[str, list[int]] = defaultdict(list)
        for place, picture in enumerate(pictures):
            if picture.file_hash:
                self._by_file[picture.file_hash].append(place)
        self._minis = _Miniatures(pictures)

    def same(self, others: Sequence[Picture]) -> list[list[Picture]]:
        """For each of some pictures, those of the catalogue that are the same, in its order."""
        found = [set(self._by_file.get(other.file_hash, ())) for other in others]
        for row, place in self._minis.pairs(_Miniatures(others)):
            found[row].add(place)
        return [[self._pictures[place] for place in sorted(places)] for places in found]

    def groups(self) -> Iterator[list[Picture]]:
        """Pictures that are the same, two at least; each picture is in one group."""
        seen: set[int] = set()
        for picture, group in zip(self._pictures, self.same(self._pictures), strict=True):
            if id(picture) in seen:
                continue
            new = [p for p in group if id(p) not in seen and _is_certain(picture, p)]
            seen.update(map(id, new))
            if len(new) > 1:
                yield new


def _is_certain(one: Picture, other: Picture) -> bool:
    if one.product == other.product or one.file_hash == other.file_hash:
        return True
    return is_alike(one.miniature, other.miniature, SAME_ACROSS)


def is_alike(one: np.ndarray, other: np.ndarray, limits: tuple[float, int] = SAME) -> bool:
    """Whether the mean and the largest difference of two miniatures are within limits."""
    apart = np.abs(one.astype(np.int16) - other)
    return bool(apart.mean() <= limits[0] and apart.max() <= limits[1])


class _Miniatures:
    """The miniatures of pictures, in the order of their brightness.

    The means of a quarter and of the whole differ at most as much as the pixels do. So a picture
    is compared with those of about its brightness alone, by quarters, and few pairs are left.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        places = [k for k, picture in enumerate(pictures) if picture.miniature is not None]
        pixels = (
            np.stack([pictures[k].miniature for k in places]) if places else np.zeros((0, 768))
        )
        quarters = pixels.reshape(-1, 2, 8, 2, 8, 3).mean(axis=(2, 4), dtype=np.float32)
        quarters = quarters.reshape(-1, 12)
        order = np.argsort(quarters.mean(axis=1), kind='stable')
        self.places = np.array(places, np.int64)[order]
        self.pixels, self.quarters = pixels[order], quarters[order]
        self.brightness = self.quarters.mean(axis=1)

    def pairs(self, others: '_Miniatures') -> Iterator[tuple[int, int]]:
        """(place in the others, place here) of all that are of one picture."""
        for start in range(0, len(others.places), _ROWS):
            rows = slice(start, start + _ROWS)
            bright = others.brightness[rows]
            low, high = np.searchsorted(
                self.brightness, [bright[0] - SAME[0], bright[-1] + SAME[0]]
            )
            ours = self.quarters[low:high]
            apart = sum(
                np.abs(others.quarters[rows, k, None] - ours[None, :, k]) for k in range(12)
            )
            for row, column in zip(*np.nonzero(apart <= 12 * SAME[0] + 1e-3), strict=True):
                one, other = others.pixels[start + row], self.pixels[low + column]
                if is_alike(one, other):
                    yield int(others.places[start + row]), int(self.places[low + column])


def same_pictures(
    groups: Sequence[Sequence[Picture]],
    product_ids: Sequence[str],
    same: Mapping[str, str] | None = None,
) -> list[Issue]:
    """Kinds ``shared_picture`` and ``near_duplicate``.

    Args:
        groups: of :meth:`PictureIndex.groups`.
        product_ids: of the catalogue.
        same: id -> id of the product that it is as well. Two ids of one product may share
            pictures.
    """
    same = same or {}
    found = []
    for group in groups:
        products = sorted({picture.product for picture in group})
        names = {p: same.get(product_ids[p], product_ids[p]) for p in products}
        if len(set(names.values())) > 1:
            for picture in group:
                others = [p for p in products if names[p] != names[picture.product]]
                found.append(
                    Issue(
                        'shared_picture',
                        product_ids[picture.product],
                        picture.number,
                        product_ids[others[0]],
                        label_quality=1 / len(products),
                        fix='exclude',
                        evidence=f'{len(products)} products have this picture',
                    )
                )
            continue
        firsts: dict[int, Picture] = {}
        for picture in group:
            first = firsts.setdefault(picture.product, picture)
            if first is picture:
                continue
            is_copy = picture.file_hash == first.file_hash
            found.append(
                Issue(
                    'near_duplicate',
                    product_ids[picture.product],
                    picture.number,
                    product_ids[first.product],
                    first.number,
                    fix='exclude',
                    evidence=f'{"the same file as" if is_copy else "looks like"} picture '
                    f'{first.number} of the product',
                )
            )
    return found


def in_training(
    index: PictureIndex,
    product_ids: Sequence[str],
    pictures: Sequence[Picture],
    evaluated_ids: Sequence[str],
) -> list[Issue]:
    """Kind ``in_training``: pictures of an evaluation that the catalogue has as well.

    Args:
        index, product_ids: of the catalogue that is trained on.
        pictures, evaluated_ids: of the evaluation.
    """
    found = []
    for picture, same in zip(pictures, index.same(pictures), strict=True):
        if same:
            found.append(
                Issue(
                    'in_training',
                    evaluated_ids[picture.product],
                    picture.number,
                    product_ids[same[0].product],
                    same[0].number,
                    fix='exclude',
                    evidence=f'picture {same[0].number} of {product_ids[same[0].product]!r} in '
                    f'training is the same',
                )
            )
    return found
