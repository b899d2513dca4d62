"""Retrieval of products by product (Table 2)."""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional import (
    average_precision_at_k,
    average_precision_chance,
    recall_at_k,
    recall_chance,
    topk_similarity,
)
from eclip_mm.evaluation.metrics.base import (
    ProductMetric,
    check_topk,
    encode,
    get_feature,
    get_field,
    get_source,
)
from eclip_mm.registry import METRICS

RELEVANCE = {'m5': 'category', 'fine': 'product_id', 'ir': 'product_id'}


@METRICS.register_module()
class ProductRetrieval(ProductMetric):
    """Recall@K and mAP@K of products searched by a picture (and its prompt).

    Relevant is an item of the same category (``m5``) or the same product_id
    (``fine``, ``ir``); AP is the protocol's own, see
    :func:`~eclip_mm.evaluation.functional.average_precision_at_k`. A query
    that is itself in the gallery is dropped from it before ranking.

    A query without any relevant item in the gallery is counted in
    ``num_unmatched``. Under ``m5`` it enters the means with 0, as in that
    protocol's program; under ``fine`` and ``ir`` it is left out of them: a
    product with one photo cannot be found. Under ``m5`` a picture without
    category asks nothing (it is no query) but stays in the gallery.

    Figures, P the protocol: ``P_R@K``, ``P_mAP@K`` with ``_chance`` (exact: a
    random ranking); counts ``P_num_queries`` (that enter the means),
    ``P_num_unmatched``, ``P_num_gallery``. Where no query enters the means,
    a warning and the counts only.

    Args:
        protocol (str): ``m5``, ``fine`` or ``ir``. Defaults to ``fine``.
        split (str, optional): As in :class:`ProductMetric`.
        topk (Sequence[int]): Cut-offs K. Defaults to (1, 5, 10).
        feature (str): Field of the data sample to search with. Defaults to
            ``pred_instance_feat``.
        query_sources (Sequence[str], optional): Pictures of these sources are
            queries. Defaults to all.
        gallery_sources (Sequence[str], optional): Pictures of these sources
            are the gallery. Defaults to all.
        **kwargs: Of :class:`ProductMetric`.
    """

    default_prefix = 'product'

    def __init__(
        self,
        protocol: str = 'fine',
        split: str | None = None,
        topk: Sequence[int] = (1, 5, 10),
        feature: str = 'pred_instance_feat',
        query_sources: Sequence[str] | None = None,
        gallery_sources: Sequence[str] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(split=split, **kwargs)
        name = type(self).__name__
        if protocol not in RELEVANCE:
            raise ValueError(f'{name}: unknown protocol {protocol!r}, one of {tuple(RELEVANCE)}')
        for key, sources in (('query', query_sources), ('gallery', gallery_sources)):
            if isinstance(sources, str):
                raise ValueError(f'{name}: {key}_sources is a list of sources, got {sources!r}')
        self.protocol = protocol
        self.topk = check_topk(topk, name)
        self.feature = feature
        self.query_sources = query_sources
        self.gallery_sources = gallery_sources

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep source, label and feature ((D,) float32; None of a picture in neither role)."""
        name = type(self).__name__
        source = get_source(sample, name)
        # A category may be missing; a product_id may not.
        label = (
            sample.get('category')
            if self.protocol == 'm5'
            else get_field(sample, 'product_id', name)
        )
        is_query = self.query_sources is None or source in self.query_sources
        in_gallery = self.gallery_sources is None or source in self.gallery_sources
        feat = get_feature(sample, self.feature, name) if is_query or in_gallery else None
        return dict(
            label=label,
            source=source,
            feat=feat,
            is_query=is_query and label is not None,
            in_gallery=in_gallery,
        )

    def measure(self, records: list[dict]) -> dict:
        """Rank the gallery for each query."""
        queries = [i for i, record in enumerate(records) if record['is_query']]
        gallery = [i for i, record in enumerate(records) if record['in_gallery']]
        name = self.protocol
        figures = {
            f'{name}_num_queries': 0,
            f'{name}_num_unmatched': 0,
            f'{name}_num_gallery': len(gallery),
        }
        labels = encode([record['label'] for record in records])
        place = {sample: index for index, sample in enumerate(gallery)}
        itself = np.array([place.get(sample, -1) for sample in queries], dtype=np.int64)
        counts = np.bincount(labels[gallery], minlength=labels.max(initial=0) + 1)
        num_relevant = counts[labels[queries]] - (itself >= 0)
        matched = num_relevant > 0
        figures[f'{name}_num_unmatched'] = int((~matched).sum())
        used = np.ones_like(matched) if self.protocol == 'm5' else matched
        if not used.any() or not gallery:
            sources = sorted({record['source'] for record in records})
            self.warn(
                f'no query can be answered ({len(queries)} queries, {len(gallery)} in the '
                f'gallery; sources seen: {sources}). Its figures are left out.'
            )
            return figures
        queries = [sample for sample, keep in zip(queries, used, strict=True) if keep]
        itself, num_relevant = itself[used], num_relevant[used]
        figures[f'{name}_num_queries'] = len(queries)

        _, ranked = topk_similarity(
            np.stack([records[i]['feat'] for i in queries]),
            np.stack([records[i]['feat'] for i in gallery]),
            max(self.topk),
            exclude=itself,
        )
        found = labels[gallery][ranked] == labels[queries][:, None]
        relevant = found & (ranked >= 0)
        size = len(gallery) - (itself >= 0)
        for k in self.topk:
            self.add_figure(
                figures,
                f'{name}_R@{k}',
                recall_at_k(relevant, k),
                recall_chance(num_relevant, size, k),
            )
            self.add_figure(
                figures,
                f'{name}_mAP@{k}',
                average_precision_at_k(relevant, num_relevant, k, self.protocol),
                average_precision_chance(num_relevant, size, k, self.protocol),
            )
        return figures
