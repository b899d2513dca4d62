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

    Each sample gives a picture; each distinct (product_id, text) gives one
    text, so that a product photographed ten times has one text in the gallery.
    A picture and a text belong together when they have the same product_id or
    the very same text string: whoever shares them, any of them counts. Sliced
    by category, a text has that of its first sample; it has no source, so that
    ``t2i`` is not sliced by source.

    Figures: ``i2t_R@K``, ``t2i_R@K`` with ``_chance`` (exact: a random ranking
    of the same gallery); counts ``i2t_num_images``, ``t2i_num_texts``. An
    empty set gives the two counts, 0, and no figures.

    Args:
        split: As in :class:`ProductMetric`.
        topk: Cut-offs K. Defaults to (1, 5, 10).
        **kwargs: Of :class:`ProductMetric`.
    """

    default_prefix = 'image_text'

    def __init__(
        self, split: str | None = None, topk: Sequence[int] = (1, 5, 10), **kwargs
    ) -> None:
        super().__init__(split=split, **kwargs)
        self.topk = check_topk(topk, type(self).__name__)

    def describe_sample(self, sample: dict, image=None) -> dict:
        """Keep identity, text and both global features, (D,) float32 each."""
        name = type(self).__name__
        return dict(
            product_id=get_field(sample, 'product_id', name),
            text=get_field(sample, 'text', name),
            image_feat=get_feature(sample, 'pred_image_feat', name),
            text_feat=get_feature(sample, 'pred_text_feat', name),
        )

    def measure(self, records: list[dict]) -> dict:
        """Recall both ways."""
        texts: dict = {}
        for record in records:
            texts.setdefault((record['product_id'], record['text']), record)
        figures = {'i2t_num_images': len(records), 't2i_num_texts': len(texts)}
        if not records:
            return figures
        image_feats = np.stack([record['image_feat'] for record in records])
        text_feats = np.stack([record['text_feat'] for record in texts.values()])
        asking = [
            {
                'product_id': record['product_id'],
                'slices': {k: v for k, v in record.get('slices', {}).items() if k != 'source'},
            }
            for record in texts.values()
        ]
        # Codes are given over pictures and texts together, so that equal means equal.
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
