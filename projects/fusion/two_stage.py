"""Retrieval in two stages: by cosine, then the first k by matching (ALBEF, BLIP)."""

from collections.abc import Callable

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from eclip_mm.evaluation import ImageTextRetrieval
from eclip_mm.evaluation.functional import recall_at_k, recall_chance, topk_similarity
from eclip_mm.evaluation.metrics.base import get_field
from eclip_mm.registry import HOOKS, METRICS
from eclip_mm.utils.dist import unwrap_model

#: what ``predict`` of a model that matches writes into each sample, beside its features
IMAGE_STATES, TEXT_STATES = 'pred_match_image', 'pred_match_text'


def rerank(
    ranked: np.ndarray,
    similarity: np.ndarray,
    match: Callable[[np.ndarray, np.ndarray], np.ndarray],
    k: int,
    cosine_weight: float = 0.0,
) -> np.ndarray:
    """Order the first k of each ranking by ``match + cosine_weight * cosine``; ties stay in order.

    Args:
        ranked: (Q, R) gallery indices, best first.
        similarity: (Q, R) their cosines.
        match: (P,) queries and (P,) gallery indices -> (P,) scores.
        k: number of places that are ordered anew.
        cosine_weight: 0 for ALBEF's rule, 1 for BLIP's.

    Returns:
        (Q, R) gallery indices; those behind the first k are as they were.
    """
    first = ranked[:, :k]
    queries = np.repeat(np.arange(len(first)), first.shape[1])
    scores = match(queries, first.ravel()).reshape(first.shape)
    scores = scores + cosine_weight * similarity[:, :k]
    order = np.argsort(-scores, axis=1, kind='stable')
    return np.concatenate([np.take_along_axis(first, order, axis=1), ranked[:, k:]], axis=1)


@METRICS.register_module()
class TwoStageRetrieval(ImageTextRetrieval):
    """The figures of :class:`ImageTextRetrieval`, and those after matching the first k.

    Figures: ``i2t_R@K`` and ``t2i_R@K`` by cosine; ``i2t_matched_R@K`` and
    ``t2i_matched_R@K`` after the second stage. ``MatchingHook`` gives it the
    model, which defines ``match(image_states, text_states, text_mask)`` and
    whose ``predict`` writes :data:`IMAGE_STATES` (N, C) and
    :data:`TEXT_STATES` (M, H), without padding, into each sample.

    Args:
        k_match: number of candidates that are matched for each query.
        cosine_weight: 0 ranks them by the matching logit alone (ALBEF), 1 by
            the sum with the cosine (BLIP).
        batch_size: number of pairs that are matched at a time.
        kwargs: of :class:`ImageTextRetrieval`.
    """

    default_prefix = 'two_stage'

    def __init__(
        self, k_match: int = 64, cosine_weight: float = 0.0, batch_size: int = 256, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if k_match < 1 or batch_size < 1:
            raise ValueError(f'k_match={k_match} and batch_size={batch_size} must be at least 1')
        self.k_match, self.cosine_weight, self.batch_size = k_match, cosine_weight, batch_size
        self.model = None

    def figure_names(self) -> set[str]:
        both = {f'{way}_matched_R@{k}' for way in ('i2t', 't2i') for k in self.topk}
        return super().figure_names() | both

    def describe_sample(self, sample: dict, image=None) -> dict:
        record = super().describe_sample(sample, image)
        for key in (IMAGE_STATES, TEXT_STATES):
            states = np.asarray(get_field(sample, key, type(self).__name__))
            record[key] = states.astype(np.float16)
        return record

    def measure(self, records: list[dict]) -> dict:
        if self.model is None:
            raise RuntimeError(
                'TwoStageRetrieval has no model to match with: add '
                "dict(type='MatchingHook') to custom_hooks"
            )
        texts: dict = {}
        for record in records:
            texts.setdefault((record['product_id'], record['text']), record)
        self._images, self._texts = records, list(texts.values())
        return super().measure(records)

    def _recall(self, figures, name, query_feats, gallery_feats, query, gallery, asking) -> None:
        super()._recall(figures, name, query_feats, gallery_feats, query, gallery, asking)
        depth = max(*self.topk, self.k_match)
        similarity, ranked = topk_similarity(query_feats, gallery_feats, depth)

        def match(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
            return self.match(queries, others) if name == 'i2t' else self.match(others, queries)

        ranked = rerank(ranked, similarity, match, self.k_match, self.cosine_weight)
        relevant = (query[:2, :, None] == gallery[:2][:, ranked]).any(0)
        same = (query[:2, :, None] == gallery[:2, None]).any(0).sum(axis=1)
        for k in self.topk:
            self.add_figure(
                figures,
                f'{name}_matched_R@{k}',
                recall_at_k(relevant, k),
                recall_chance(same, len(gallery_feats), k),
                asking,
            )

    def match(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """(P,) matching logits of pictures and texts, given as (P,) indices each."""
        return match_states(
            self.model,
            [self._images[i][IMAGE_STATES] for i in images],
            [self._texts[i][TEXT_STATES] for i in texts],
            self.batch_size,
        )


@torch.no_grad()
def match_states(
    model: nn.Module, images: list[np.ndarray], texts: list[np.ndarray], batch_size: int
) -> np.ndarray:
    """(P,) matching logits of P pairs.

    Args:
        model: defines ``match``, see :class:`TwoStageRetrieval`.
        images: P arrays (N, C).
        texts: P arrays (M, H), of different lengths.
        batch_size: number of pairs that are matched at a time.
    """
    device = next(model.parameters()).device
    scores = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        words = [torch.from_numpy(x) for x in texts[part]]
        mask = [torch.ones(len(w), dtype=torch.bool) for w in words]
        words, mask = (torch.nn.utils.rnn.pad_sequence(x, batch_first=True) for x in (words, mask))
        patches = torch.from_numpy(np.stack(images[part]))
        states: list[Tensor] = [x.to(device).float() for x in (patches, words)]
        scores.append(model.match(*states, mask.to(device)).float().cpu())
    return torch.cat(scores).numpy()


@HOOKS.register_module()
class MatchingHook(Hook):
    """Gives the model to each metric that matches pairs with it, those that have ``k_match``.

    The model then keeps the states that they match.
    """

    def before_val(self, runner) -> None:
        self._give(runner, runner.val_loop)

    def before_test(self, runner) -> None:
        self._give(runner, runner.test_loop)

    def _give(self, runner, loop) -> None:
        for metric in loop.evaluator.metrics:
            if hasattr(metric, 'k_match'):
                metric.model = unwrap_model(runner.model)
                metric.model.keeps_states = True
