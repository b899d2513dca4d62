"""Product-to-product retrieval (Tables 2 and 3)."""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional import (
    average_precision_at_k,
    average_precision_chance,
    average_recall_at_n,
    average_recall_chance,
    flatten_labels,
    instance_relevance,
    precision_at_k,
    recall_at_k,
    recall_chance,
)
from eclip_mm.evaluation.metrics.base import (
    ProductMetric,
    check_topk,
    encode,
    get_feature,
    get_field,
    get_source,
)
from eclip_mm.evaluation.metrics.shared_search import search
from eclip_mm.registry import METRICS

#: default cut-offs
TOPK = {'m5': (1, 5, 10), 'fine': (1, 5, 10), 'product1m': (10, 50), 'ir': (1, 5, 10)}


@METRICS.register_module()
class ProductRetrieval(ProductMetric):
    """Retrieval of products by a picture (and its prompt).

    A gallery item is relevant if it has

    - ``m5``: the category of the query,
    - ``fine``, ``ir``: the product_id of the query,
    - ``product1m``: the product_id of any box annotated in the query photo
      (``object_product_ids``; a photo without annotations asks for its own
      product_id). Two boxes of one product are two labels.

    AP and AR are defined by the protocol, see
    :func:`~eclip_mm.evaluation.functional.average_precision_at_k` and
    :func:`~eclip_mm.evaluation.functional.average_recall_at_n`. A query that
    is itself in the gallery is excluded from its own ranking. Under
    ``product1m`` this also holds for a product's picture whose ``image_id`` is
    the query's product_id (``write_instance_queries``).

    A query without any relevant item in the gallery is counted in
    ``num_unmatched``. Under ``m5`` it enters the means with 0, as in that
    protocol's program. Under the other protocols it is left out of the means,
    since a product with one photo cannot be found. Under ``m5`` a picture
    without a category is no query; it is counted in ``num_without_category``
    and stays in the gallery.

    Figures: ``fine_R@K`` and ``fine_mAP@K``, the same for ``ir``; ``m5_P@K``
    and ``m5_mAP@K``; ``product1m_mAP@K`` and ``product1m_mAR@K``; each with
    ``_chance`` (exact, for a random ranking). Counts for protocol P:
    ``P_num_queries`` (queries that enter the means), ``P_num_unmatched``,
    ``P_num_gallery``. ``product1m`` adds ``num_unannotated`` (queries without
    boxes), ``num_duplicated`` (queries with two boxes of one product),
    ``num_lost_labels`` (boxes of the queries whose product is not in the
    gallery; they count in no figure) and ``num_crowded@K`` (queries with more
    than K boxes; they enter mAR@K with 0). If no query enters the means, there
    are a warning and the counts, but no figures.

    Args:
        protocol: ``m5``, ``fine``, ``product1m`` or ``ir``. Defaults to
            ``fine``.
        split: as in :class:`ProductMetric`.
        topk: cut-offs K. Defaults to (10, 50) for ``product1m`` and (1, 5, 10)
            for the others.
        feature: field of the data sample to search with; several fields give
            the sum of the normalised features. Defaults to
            ``pred_instance_feat``.
        query_sources: pictures of these sources are queries. Defaults to all.
        gallery_sources: pictures of these sources are the gallery. Defaults to
            all.
        query_split: samples of this split are queries. Use it with
            ``gallery_split`` and instead of ``split`` if queries and gallery
            come from two catalogues. Defaults to ``split``.
        gallery_split: samples of this split are the gallery.
        **kwargs: of :class:`ProductMetric`.
    """

    default_prefix = 'product'

    def __init__(
        self,
        protocol: str = 'fine',
        split: str | None = None,
        topk: Sequence[int] | None = None,
        feature: str | Sequence[str] = 'pred_instance_feat',
        query_sources: Sequence[str] | None = None,
        gallery_sources: Sequence[str] | None = None,
        query_split: str | None = None,
        gallery_split: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(split=split, **kwargs)
        name = type(self).__name__
        if protocol not in TOPK:
            raise ValueError(f'{name}: unknown protocol {protocol!r}, one of {tuple(TOPK)}')
        for key, sources in (('query', query_sources), ('gallery', gallery_sources)):
            if isinstance(sources, str):
                raise ValueError(f'{name}: {key}_sources is a list of sources, got {sources!r}')
        one_missing = (query_split is None) != (gallery_split is None)
        if one_missing or (split is not None and query_split is not None):
            raise ValueError(
                f'{name}: give split, or query_split and gallery_split both, got split={split!r}, '
                f'query_split={query_split!r}, gallery_split={gallery_split!r}'
            )
        if query_split is not None:
            self.splits = (query_split, gallery_split)
        self.protocol = protocol
        self.topk = check_topk(TOPK[protocol] if topk is None else topk, name)
        self.features = (feature,) if isinstance(feature, str) else tuple(feature)
        self.query_split, self.gallery_split = query_split, gallery_split
        self.query_sources = query_sources
        self.gallery_sources = gallery_sources
        self.search = search  #: ProductEvaluator replaces it by a shared one

    def figure_names(self) -> set[str]:
        """Figures of the protocol at every K."""
        first = dict(m5='P', product1m='mAR').get(self.protocol, 'R')
        return {f'{self.protocol}_{name}@{k}' for name in (first, 'mAP') for k in self.topk}

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep source, labels and feature ((D,) float32; None if neither query nor gallery)."""
        name = type(self).__name__
        source = get_source(sample, name)
        # A category may be missing; a product_id may not.
        label = (
            sample.get('category')
            if self.protocol == 'm5'
            else get_field(sample, 'product_id', name)
        )
        split = sample.get('split', '')
        is_query = self.query_split in (None, split)
        is_query &= self.query_sources is None or source in self.query_sources
        in_gallery = self.gallery_split in (None, split)
        in_gallery &= self.gallery_sources is None or source in self.gallery_sources
        boxes = sample.get('object_product_ids') if self.protocol == 'product1m' else None
        feat = self._search_feature(sample) if is_query or in_gallery else None
        return dict(
            label=label,
            asks=tuple(boxes or (label,)),
            annotated=bool(boxes),
            source=source,
            feat=feat,
            is_query=is_query,
            in_gallery=in_gallery,
            picture=(sample.get('image_ids') or (None,))[0],
        )

    def _search_feature(self, sample: dict) -> np.ndarray:
        feats = [get_feature(sample, key, type(self).__name__) for key in self.features]
        if len(feats) == 1:
            return feats[0]  # unchanged, as metrics share the array
        return sum(feat / max(np.linalg.norm(feat), 1e-12) for feat in feats)

    def measure(self, records: list[dict]) -> dict:
        """Rank the gallery for each query and score the rankings."""
        asking = [i for i, record in enumerate(records) if record['is_query']]
        queries = [i for i in asking if records[i]['label'] is not None]
        gallery = [i for i, record in enumerate(records) if record['in_gallery']]
        of_gallery, labels = self._encode_labels(records, queries, gallery)
        itself = self._find_itself(records, queries, gallery)

        # number of gallery items of each (query, label), without the query itself
        counts = np.bincount(of_gallery, minlength=labels.label.max(initial=0) + 1)
        own = itself[labels.query]
        is_own = (own >= 0) & (np.append(of_gallery, -1)[own] == labels.label)
        available = counts[labels.label] - is_own
        num_relevant = np.bincount(labels.query, available, len(queries)).astype(np.int64)
        matched = num_relevant > 0
        used = np.ones_like(matched) if self.protocol == 'm5' else matched
        figures = self._count([records[i] for i in queries], labels, available, matched, used)
        figures[f'{self.protocol}_num_gallery'] = len(gallery)
        if self.protocol == 'm5':
            figures['m5_num_without_category'] = len(asking) - len(queries)
        if not used.any() or not gallery:
            figures[f'{self.protocol}_num_queries'] = 0
            sources = sorted({record['source'] for record in records})
            self.warn(
                f'no query can be answered ({len(queries)} queries, {len(gallery)} in the '
                f'gallery; sources seen: {sources}). Its figures are left out.'
            )
            return figures

        ranked = self.search(
            np.stack([records[i]['feat'] for i in queries]),
            np.stack([records[i]['feat'] for i in gallery]),
            max(self.topk),
            itself,
        )
        ranked = np.where(ranked >= 0, of_gallery[ranked], -1)
        size = len(gallery) - (itself >= 0)
        answered = [records[i] for i, keep in zip(queries, used, strict=True) if keep]
        for name, scores, chance in self._score(ranked, labels, available, size):
            name = f'{self.protocol}_{name}'
            self.add_figure(figures, name, scores[used], chance[used], answered)
        return figures

    def _find_itself(self, records, queries, gallery) -> np.ndarray:
        """Find each query's own picture in the gallery, (Q,); -1 if it is not there."""
        place = {sample: index for index, sample in enumerate(gallery)}
        pictures: dict = {}
        if self.protocol == 'product1m':
            pictures = {records[i]['picture']: index for index, i in enumerate(gallery)}
        return np.array(
            [place.get(i, pictures.get(records[i]['label'], -1)) for i in queries],
            dtype=np.int64,
        )

    def _encode_labels(self, records, queries, gallery):
        """Encode the labels of gallery and queries; equal labels get equal codes."""
        asked = [label for i in queries for label in records[i]['asks']]
        codes = encode([records[i]['label'] for i in gallery] + asked)
        ends = np.cumsum([len(gallery), *(len(records[i]['asks']) for i in queries)])
        asks = [codes[a:b] for a, b in zip(ends, ends[1:], strict=False)]
        return codes[: len(gallery)], flatten_labels(asks)

    def _count(self, queries, labels, available, matched, used) -> dict:
        counts = {'num_queries': used.sum(), 'num_unmatched': (~matched).sum()}
        if self.protocol == 'product1m':
            boxes = np.bincount(labels.query, labels.times, len(queries))
            twice = np.bincount(labels.query, labels.times > 1, len(queries))
            counts['num_unannotated'] = sum(not record['annotated'] for record in queries)
            counts['num_duplicated'] = (twice > 0).sum()
            counts['num_lost_labels'] = labels.times[available == 0].sum()
            for k in self.topk:
                counts[f'num_crowded@{k}'] = (used & (boxes > k)).sum()
        return {f'{self.protocol}_{key}': int(value) for key, value in counts.items()}

    def _score(self, ranked, labels, available, size):
        """Yield name, (Q,) scores and (Q,) chance of each figure, for all queries."""
        relevant = instance_relevance(ranked, labels)
        num_relevant = np.bincount(labels.query, available).astype(np.int64)
        num_listed = np.bincount(labels.query, available * labels.times).astype(np.int64)
        for k in self.topk:
            if self.protocol == 'm5':
                precision = precision_at_k(relevant, num_relevant, k)
                yield f'P@{k}', precision, num_relevant / np.maximum(size, 1)
            elif self.protocol != 'product1m':
                recall, chance = recall_at_k(relevant, k), recall_chance(num_relevant, size, k)
                yield f'R@{k}', recall, chance
            yield (
                f'mAP@{k}',
                average_precision_at_k(relevant, num_listed, k, self.protocol),
                average_precision_chance(num_relevant, size, k, self.protocol, num_listed),
            )
            if self.protocol == 'product1m':
                recall = average_recall_at_n(ranked, labels, available, k)
                yield f'mAR@{k}', recall, average_recall_chance(labels, available, size, k)
