"""Pictures that are there twice: in a product, under several ids, or in an evaluation as well."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from eclip_mm.audit.issues import Issue
from eclip_mm.audit.pictures import MAX_BITS, Picture, bits_apart

#: pictures that share a part of their fingerprint and are compared with one another at most: more
#: have a plain background in common
_LARGEST = 64


class PictureIndex:
    """Finds the pictures that are the same as one.

    Two pictures are the same if their files are, or if their fingerprints differ in at most
    ``MAX_BITS`` of 512 bits: then one of 8 parts is equal.

    Args:
        pictures: of the catalogue.
    """

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._by_file: dict[str, list[Picture]] = defaultdict(list)
        self._by_part: dict[tuple[int, bytes], list[Picture]] = defaultdict(list)
        for picture in pictures:
            if picture.file_hash:
                self._by_file[picture.file_hash].append(picture)
            for part in _parts(picture):
                self._by_part[part].append(picture)

    def same(self, picture: Picture) -> list[Picture]:
        """All pictures that are the same, itself included, in the order of the catalogue."""
        found = {id(p): p for p in self._by_file.get(picture.file_hash, ())}
        for part in _parts(picture):
            alike = self._by_part.get(part, ())
            for other in alike if len(alike) <= _LARGEST else ():
                if id(other) not in found and (
                    bits_apart(picture.fingerprint, other.fingerprint) <= MAX_BITS
                ):
                    found[id(other)] = other
        return sorted(found.values(), key=lambda p: (p.product, p.number))

    def groups(self) -> Iterator[list[Picture]]:
        """Pictures that are the same, two at least; each picture is in one group."""
        seen: set[int] = set()
        for pictures in self._by_file.values():
            if id(pictures[0]) in seen:
                continue
            group = self.same(pictures[0])
            new = [p for p in group if id(p) not in seen]
            seen.update(id(p) for p in group)
            if len(new) > 1:
                yield new


def _parts(picture: Picture) -> Iterator[tuple[int, bytes]]:
    if picture.fingerprint is not None:
        for part in range(8):
            yield part, picture.fingerprint[8 * part : 8 * part + 8]


def same_pictures(index: PictureIndex, product_ids: Sequence[str]) -> list[Issue]:
    """Kinds ``shared_picture`` and ``near_duplicate``."""
    found = []
    for group in index.groups():
        products = sorted({picture.product for picture in group})
        if len(products) > 1:
            for picture in group:
                others = [p for p in products if p != picture.product]
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
        first, *others = group
        for picture in others:
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
    pictures: Iterable[Picture],
    evaluated_ids: Sequence[str],
) -> list[Issue]:
    """Kind ``in_training``: pictures of an evaluation that the catalogue has as well.

    Args:
        index, product_ids: of the catalogue that is trained on.
        pictures, evaluated_ids: of the evaluation.
    """
    found = []
    for picture in pictures:
        same = index.same(picture)
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
