"""Retrieval of products in two stages: vectors find candidates, pairs are matched again."""

import numpy as np

from eclip_mm.evaluation.metrics import ProductRetrieval
from eclip_mm.evaluation.metrics.base import get_field
from eclip_mm.registry import METRICS
from projects.fusion.two_stage import IMAGE_STATES, TEXT_STATES, match_states, rerank


@METRICS.register_module()
class MatchedRetrieval(ProductRetrieval):
    """:class:`ProductRetrieval` whose first candidates are ordered by matching.

    A pair is the text of the query and the picture of a candidate. Candidates
    behind the first ones keep their order. ``MatchingHook`` gives the metric
    the model, see :class:`TwoStageRetrieval`.

    Args:
        k_match: number of candidates that are matched for each query.
        batch_size: number of pairs that are matched at a time.
        kwargs: of :class:`ProductRetrieval`.

    Raises:
        ValueError: fewer candidates are matched than ``topk`` asks for.
    """

    def __init__(self, k_match: int = 64, batch_size: int = 256, **kwargs) -> None:
        super().__init__(**kwargs)
        if k_match < max(self.topk):
            raise ValueError(
                f'{type(self).__name__}: k_match={k_match} candidates are fewer than the '
                f'{max(self.topk)} of topk: raise k_match or lower topk'
            )
        self.k_match = k_match
        self.batch_size = batch_size
        self.model = None

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep also the states that are matched, in float16."""
        record = super().describe_sample(sample, image)
        for key, used in ((TEXT_STATES, 'is_query'), (IMAGE_STATES, 'in_gallery')):
            if record[used]:
                states = np.asarray(get_field(sample, key, type(self).__name__))
                record[key] = states.astype(np.float16)
        return record

    def measure(self, records: list[dict]) -> dict:
        """Rank the gallery for each query, order its beginning anew, and score the rankings.

        Raises:
            RuntimeError: no hook has given the model.
        """
        if self.model is None:
            raise RuntimeError(
                f'{type(self).__name__} has no model to match with: add '
                "dict(type='MatchingHook') to custom_hooks"
            )
        asking = [r for r in records if r['is_query'] and r['label'] is not None]
        gallery = [r for r in records if r['in_gallery']]
        search = self.search

        def match(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
            scores = np.full(len(others), -np.inf)
            found = others >= 0  # a query that is in the gallery has one candidate less
            scores[found] = match_states(
                self.model,
                [gallery[i][IMAGE_STATES] for i in others[found]],
                [asking[i][TEXT_STATES] for i in queries[found]],
                self.batch_size,
            )
            return scores

        def search_twice(query, feats, k, itself):
            ranked = search(query, feats, max(k, self.k_match), itself)
            return rerank(ranked, np.zeros(ranked.shape), match, self.k_match)[:, :k]

        self.search = search_twice
        try:
            return super().measure(records)
        finally:
            self.search = search
