"""Image-text retrieval (Table 1, right)."""

from collections.abc import Sequence

import numpy as np

from eclip_mm.evaluation.functional import recall_at_k, recall_chance, topk_similarity
from eclip_mm.evaluation.metrics.base import (
    ProductMetric,
    check_topk,
    encode,
    get_feature,
    get_field,
)
from eclip_mm.registry import METRICS


@METRICS.register_module()
class ImageTextRetrieval(ProductMetric):
    """Recall@K of texts by picture and of pictures by text, encoders only.

    Each sample gives a picture, and each distinct (product_id, text) gives one
    text, so that a product with ten photos has one text in the gallery. A
    picture and a text match if they have the same product_id or exactly the
    same text. For subgroups a text takes the category of its first sample; it
    has no source, so ``t2i`` has no subgroups by source.

    Figures: ``i2t_R@K`` and ``t2i_R@K`` with ``_chance`` (exact, for a random
    ranking of the same gallery); counts: ``i2t_num_images`` and
    ``t2i_num_texts``. An empty set gives two counts of 0 and no figures.

    Args:
        split: as in :class:`ProductMetric`.
        topk: cut-offs K. Defaults to (1, 5, 10).
        **kwargs: of :class:`ProductMetric`.
    """

    default_prefix = 'image_text'

    def __init__(
        self, split: str | None = None, topk: Sequence[int] = (1, 5, 10), **kwargs
    ) -> None:
        super().__init__(split=split, **kwargs)
        self.topk = check_topk(topk, type(self).__name__)

    def figure_names(self) -> set[str]:
        """``i2t_R@K`` and ``t2i_R@K``."""
        return {f'{way}_R@{k}' for way in ('i2t', 't2i') for k in self.topk}

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep product_id, text and both global features, (D,) float32 each."""
        name = type(self).__name__
        return dict(
            product_id=get_field(sample, 'product_id', name),
            text=get_field(sample, 'text', name),
            image_feat=get_feature(sample, 'pred_image_feat', name),
            text_feat=get_feature(sample, 'pred_text_feat', name),
        )

    def measure(self, records: list[dict]) -> dict:
        """Compute recall in both directions."""
        texts: dict = {}
        for record in records:
            texts.setdefault((record['product_id'], record['text']), record)
        figures = {'i2t_num_images': len(records), 't2i_num_texts': len(texts)}
        if not records:
            return figures
        image_feats = np.stack([record['image_feat'] for record in records])
        text_feats = np.stack([record['text_feat'] for record in texts.values()])
        asking = [
            dict(
                product_id=record['product_id'],
                subgroups=dict(record.get('subgroups', {}), source=None),  # a text has no source
            )
            for record in texts.values()
        ]
        # Pictures and texts are encoded together, so that equal values get equal codes.
        keys = [(record['product_id'], record['text']) for record in records] + list(texts)
        codes = np.stack(
            [encode([key[0] for key in keys]), encode([key[1] for key in keys]), encode(keys)]
        )
        images, texts = codes[:, : len(records)], codes[:, len(records) :]
        self._recall(figures, 'i2t', image_feats, text_feats, images, texts, records)
        self._recall(figures, 't2i', text_feats, image_feats, texts, images, asking)
        return figures

    def _recall(self, figures, name, query_feats, gallery_feats, query, gallery, asking) -> None:
        _, ranked = topk_similarity(query_feats, gallery_feats, max(self.topk))
        relevant = (query[:2, :, None] == gallery[:2][:, ranked]).any(0)
        # |same product or same text| = |same product| + |same text| - |both|
        num_relevant = sum(
            sign * np.bincount(gallery[row], minlength=query[row].max() + 1)[query[row]]
            for row, sign in enumerate((1, 1, -1))
        )
        for k in self.topk:
            self.add_figure(
                figures,
                f'{name}_R@{k}',
                recall_at_k(relevant, k),
                recall_chance(num_relevant, len(gallery_feats), k),
                asking,
            )
