"""What the pictures and titles show by themselves: broken, tiny and turned ones, markup."""

from collections.abc import Iterable, Sequence

import numpy as np

from eclip_mm.audit.issues import Issue
from eclip_mm.audit.pictures import Picture
from eclip_mm.datasets.transforms.clean_text import clean_text

#: pixels of the shorter side below which a picture is tiny, where others are larger
_SMALL = 64


def picture_issues(pictures: Sequence[Picture], product_ids: Sequence[str]) -> list[Issue]:
    """Kinds ``broken``, ``tiny``, ``rotated`` and ``text_only``.

    A picture is tiny below 64 pixels, and below a third of the catalogue's median: a catalogue of
    small pictures is what it is.
    """
    sides = [picture.side for picture in pictures if picture.error is None]
    small = min(_SMALL, np.median(sides) / 3) if sides else 0
    found = []
    for picture in pictures:
        about = (product_ids[picture.product], picture.number)
        if picture.error is not None:  # readers leave it out by themselves
            found.append(Issue('broken', *about, evidence=picture.error))
            continue
        if picture.side < small:
            evidence = f'its shorter side has {picture.side} pixels'
            found.append(
                Issue(
                    'tiny',
                    *about,
                    label_quality=picture.side / small,
                    fix='exclude',
                    evidence=evidence,
                )
            )
        if picture.turned:  # readers turn it back: to be known, not to be fixed
            found.append(
                Issue('rotated', *about, label_quality=1.0, evidence='its EXIF tag turns it')
            )
        if picture.is_text:
            evidence = 'small marks in rows on a plain background'
            found.append(Issue('text_only', *about, fix='exclude', evidence=evidence))
    return found


def title_issues(texts: Iterable[str], product_ids: Sequence[str]) -> list[Issue]:
    """Kind ``markup``: what :func:`clean_text` would change."""
    found = []
    for product_id, text in zip(product_ids, texts, strict=True):
        _, changes = clean_text(text)
        if changes:
            found.append(Issue('markup', product_id, evidence=f'{", ".join(changes)}: {text:.80}'))
    return found
