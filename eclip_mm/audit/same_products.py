"""One product under two ids: the same words, in one category, and pictures that are as alike."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from eclip_mm.audit.features import AuditFeatures
from eclip_mm.audit.fit import unit
from eclip_mm.audit.issues import Issue

#: products whose titles share words that are compared with one another at most
_LARGEST = 200


def same_titles(features: AuditFeatures, texts: Sequence[str]) -> list[list[int]]:
    """Products of one category whose titles have the same words in any order, two at least.

    Args:
        features: of the catalogue.
        texts: title of each product.
    """
    alike: dict[tuple, list[int]] = defaultdict(list)
    for product, (text, category) in enumerate(zip(texts, features.categories, strict=True)):
        words = tuple(sorted(re.findall(r'\w+', text.casefold())))
        if words:
            alike[int(category), words].append(product)
    return [products for products in alike.values() if len(products) > 1]


def same_products(
    features: AuditFeatures, titles: Sequence[Sequence[int]], known: Collection[tuple[str, int]]
) -> list[Issue]:
    """Kind ``duplicate_product``: each pair once, the later product merged into the earlier one.

    The titles have the same words in any order. Names of different sizes, colours or versions
    differ in a word, so they are different products, however alike their pictures are. Of the
    pictures the best pair decides: it is at least as alike as that of nine of ten products.

    Args:
        features: of the catalogue.
        titles: see :func:`same_titles`.
        known: (product_id, picture) of what is none of the product, such as a placeholder. It
            tells nothing about two products that have it.
    """
    rows = _rows_of_products(features, known)
    usual = _usual_similarity(features, rows)
    found = []
    for products in titles:
        if len(products) > _LARGEST:
            continue
        merged: set[int] = set()
        for k, first in enumerate(products):
            for second in products[k + 1 :]:
                if first in merged or second in merged:
                    continue
                ours, theirs = features.pictures[rows[first]], features.pictures[rows[second]]
                if not len(ours) or not len(theirs):
                    continue
                best = float((ours @ theirs.T).max())
                if best < usual:
                    continue
                merged.add(second)
                found.append(
                    Issue(
                        'duplicate_product',
                        features.product_ids[second],
                        other_product_id=features.product_ids[first],
                        label_quality=max(0.0, 1 - best),
                        fix='merge',
                        evidence=f'the same words in the title, and pictures with a cosine of '
                        f'{best:.3f} (in nine of ten products there are two above {usual:.3f})',
                    )
                )
    return found


def _rows_of_products(features: AuditFeatures, known: Collection) -> list[np.ndarray]:
    """Rows of the pictures of each product, without what is known to be none of it."""
    ids = features.product_ids
    names = zip(features.owner.tolist(), features.numbers.tolist(), strict=True)
    use = np.array([(ids[owner], number) not in known for owner, number in names], bool)
    order = np.argsort(features.owner, kind='stable')
    order = order[use[order]]
    counts = np.bincount(features.owner[use], minlength=len(ids))
    return np.split(order, np.cumsum(counts)[:-1])


def _usual_similarity(features: AuditFeatures, rows: list[np.ndarray]) -> float:
    """How alike the two most similar pictures of a product are, in nine of ten products."""
    best = []
    for own in rows:
        if len(own) > 1:
            similarity = unit(features.pictures[own[:50]])
            similarity = similarity @ similarity.T
            np.fill_diagonal(similarity, -1)
            best.append(similarity.max())
    return float(np.quantile(best, 0.1)) if best else 0.98
