"""Retrieval in two stages: vectors find candidates, and the first ones are matched again."""

import numpy as np
from mmengine.hooks import Hook

from eclip_mm.evaluation.metrics import ProductRetrieval
from eclip_mm.evaluation.metrics.base import get_field
from eclip_mm.registry import HOOKS, METRICS
from eclip_mm.utils.dist import unwrap_model

WORDS, REGIONS = 'pred_word_states', 'pred_region_states'


@METRICS.register_module()
class RerankedRetrieval(ProductRetrieval):
    """:class:`ProductRetrieval` whose first candidates are ranked again.

    A pair is the text of the query and the picture of a candidate. Candidates
    behind the first ones keep their order. ``RerankingHook`` gives the metric
    the model that scores pairs.

    Args:
        first: number of candidates that are ranked again.
        batch_size: pairs that are scored at a time.
        kwargs: of :class:`ProductRetrieval`.
    """

    def __init__(self, first: int = 64, batch_size: int = 256, **kwargs) -> None:
        super().__init__(**kwargs)
        if first < max(self.topk):
            raise ValueError(
                f'{type(self).__name__}: first={first} candidates are fewer than the '
                f'{max(self.topk)} of topk: raise first or lower topk'
            )
        self.first = first
        self.batch_size = batch_size
        self.score_pairs = None

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep also the states that scores are computed from, in float16."""
        record = super().describe_sample(sample, image)
        name = type(self).__name__
        if record['is_query']:
            record['words'] = np.asarray(get_field(sample, WORDS, name), np.float16)
        if record['in_gallery']:
            record['regions'] = np.asarray(get_field(sample, REGIONS, name), np.float16)
        return record

    def measure(self, records: list[dict]) -> dict:
        """Rank the gallery for each query, rank its beginning again, and score the rankings.

        Raises:
            RuntimeError: no hook has given the model.
        """
        if self.score_pairs is None:
            raise RuntimeError(
                f'{type(self).__name__} has no model that scores pairs: add '
                "dict(type='RerankingHook') to custom_hooks"
            )
        asking = [r for r in records if r['is_query'] and r['label'] is not None]
        gallery = [r for r in records if r['in_gallery']]
        search = self.search

        def search_twice(query, feats, k, itself):
            ranked = search(query, feats, max(k, self.first), itself)
            head = ranked[:, : self.first]
            scores = self._scores(asking, gallery, head)
            order = np.argsort(-scores, axis=1, kind='stable')
            again = np.take_along_axis(head, order, axis=1)
            return np.concatenate([again, ranked[:, self.first :]], axis=1)[:, :k]

        self.search = search_twice
        try:
            return super().measure(records)
        finally:
            self.search = search

    def _scores(self, asking: list[dict], gallery: list[dict], ranked: np.ndarray) -> np.ndarray:
        """(Q, k) score of each query's candidates (Q, k); places without one (-1) come last."""
        scores = np.full(ranked.shape, -np.inf)
        for row, (record, found) in enumerate(zip(asking, ranked, strict=True)):
            found = found[found >= 0]
            for start in range(0, len(found), self.batch_size):
                part = found[start : start + self.batch_size]
                regions = stack_padded([gallery[i]['regions'] for i in part])
                words = np.broadcast_to(record['words'], (len(part), *record['words'].shape))
                scores[row, start : start + len(part)] = self.score_pairs(words.copy(), regions)
        return scores


def stack_padded(arrays: list[np.ndarray]) -> np.ndarray:
    """(P, K, C) of P arrays (k, C), zeros behind the shorter ones."""
    stacked = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked


@HOOKS.register_module()
class RerankingHook(Hook):
    """Gives each :class:`RerankedRetrieval` of an evaluation the model that scores pairs."""

    def before_val_epoch(self, runner) -> None:
        self._give(runner, runner.val_loop)

    def before_test_epoch(self, runner) -> None:
        self._give(runner, runner.test_loop)

    def _give(self, runner, loop) -> None:
        model = unwrap_model(runner.model)
        for metric in loop.evaluator.metrics:
            if isinstance(metric, RerankedRetrieval):
                metric.score_pairs = model.score_pairs
