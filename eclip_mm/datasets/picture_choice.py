"""Which pictures of a product become a training sample."""

from collections.abc import Sequence

import numpy as np

FIRST_PICTURE = ('source', 'picture')


def check_choice(name: str, num_images: int, first_picture: str) -> None:
    """Check how pictures are to be chosen; messages begin with ``name``, the class.

    Raises:
        ValueError: ``num_images`` is less than 1, or ``first_picture`` is unknown.
    """
    if num_images < 1:
        raise ValueError(f"{name}: 'num_images' is {num_images}, give at least 1")
    if first_picture not in FIRST_PICTURE:
        raise ValueError(
            f"{name}: 'first_picture' must be 'source' or 'picture', got {first_picture!r}"
        )


def check_sources(
    name: str, sources: Sequence[str] | None, exclude_sources: Sequence[str] | None
) -> None:
    """Check which sources are asked for; messages begin with ``name``, the class.

    Raises:
        ValueError: both are given, or one is a word instead of a list.
    """
    if sources is not None and exclude_sources is not None:
        raise ValueError(f"{name}: give 'sources' or 'exclude_sources', not both")
    for key, value in (('sources', sources), ('exclude_sources', exclude_sources)):
        if isinstance(value, str):
            raise ValueError(f"{name}: '{key}' is a list, write [{value!r}]")


def wanted_pictures(
    row: dict, sources: Sequence[str] | None, exclude_sources: Sequence[str] | None
) -> list[int]:
    """Places of the pictures of a row that are of ``sources``, or not of ``exclude_sources``."""
    named = sources if sources is not None else exclude_sources
    return [
        i
        for i, image in enumerate(row['images'])
        if named is None or (image['source'] in named) == (sources is not None)
    ]


def choose_all(candidates: Sequence, sources: Sequence, rng: np.random.Generator) -> Sequence:
    """All pictures, in their order."""
    return candidates


def choose_pictures(
    candidates: Sequence[int],
    sources: Sequence,
    rng: np.random.Generator,
    num_images: int,
    first_picture: str,
) -> list[int]:
    """Draw the pictures of a training sample.

    Args:
        candidates: indices of the pictures to draw from.
        sources: source of every picture, indexed by candidate.
        rng: source of the choice.
        num_images: how many to draw.
        first_picture: ``source`` makes each source equally likely for the first picture,
            ``picture`` each picture.

    Returns:
        ``num_images`` of the candidates, of different sources as far as the product has them.
    """
    if first_picture == 'source':
        return choose_images(candidates, sources, num_images, rng)
    first = candidates[rng.integers(len(candidates))]
    others = (
        [c for c in candidates if sources[c] != sources[first]]
        or [c for c in candidates if c != first]
        or [first]
    )
    return [first, *choose_images(others, sources, num_images - 1, rng)]


def choose_images(
    candidates: Sequence[int], sources: Sequence, num_images: int, rng: np.random.Generator
) -> list[int]:
    """Draw pictures of a product, from as many different sources as possible.

    Args:
        candidates: indices of the pictures to draw from.
        sources: source of every picture, indexed by candidate.
        num_images: how many to draw. One picture is drawn twice only when all have been drawn
            once.
        rng: source of the choice.

    Returns:
        ``num_images`` of the candidates in random order.
    """
    chosen: list[int] = []
    while len(chosen) < num_images:
        # One picture of each source per round; what is left is for the next round.
        by_source: dict = {}
        for candidate in candidates:
            if candidate not in chosen[len(chosen) - len(chosen) % len(candidates) :]:
                by_source.setdefault(sources[candidate], []).append(candidate)
        groups = list(by_source.values())
        for g in rng.permutation(len(groups))[: num_images - len(chosen)]:
            chosen.append(groups[g][rng.integers(len(groups[g]))])
    return chosen
