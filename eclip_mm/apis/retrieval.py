"""Sheets of queries and their retrieval results, from a model and a data set."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from eclip_mm.apis.prediction import predict_items
from eclip_mm.apis.stored_pictures import picture_or_input
from eclip_mm.evaluation.functional import topk_similarity
from eclip_mm.structures import ProductDataSample
from eclip_mm.utils.spread import spread_indices
from eclip_mm.visualization import retrieval_sheet

#: protocol -> the field that a right result has in common with the query
RIGHT = {'fine': 'product_id', 'm5': 'category'}


class NothingToFind(ValueError):
    """No picture of a set has another picture of its product or category."""


def draw_retrieval(
    model: nn.Module,
    dataset: Dataset,
    num_queries: int = 8,
    num_results: int = 10,
    protocol: str = 'fine',
    feature: str = 'pred_instance_feat',
    title: str = '',
    **loading,
) -> Image.Image:
    """Draw queries and what each finds among all other pictures of a data set.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        dataset: evaluation data set, such as ``ProductImageDataset``, for
            queries and gallery.
        num_queries, num_results, protocol, feature, title: see
            :func:`sheet_of_samples`.
        **loading: ``batch_size``, ``num_workers`` and ``names_from`` of
            :func:`~eclip_mm.apis.predict_items`.
    """
    predicted = predict_items(model, dataset, range(len(dataset)), **loading)
    return sheet_of_samples(
        [keep_feature(sample, feature) for _, sample in predicted],
        partial(picture_or_input, dataset),
        num_queries,
        num_results,
        protocol,
        feature,
        title,
    )


def keep_feature(sample: ProductDataSample, feature: str) -> ProductDataSample:
    """Copy a sample with one feature only, so that a whole gallery fits into memory."""
    small = ProductDataSample(metainfo=sample.metainfo)
    small.set_data({feature: sample.get(feature).clone()})  # not a view of the whole batch
    return small


def sheet_of_samples(
    samples: Sequence[ProductDataSample],
    load_picture: Callable[[int], Image.Image | torch.Tensor],
    num_queries: int = 8,
    num_results: int = 10,
    protocol: str = 'fine',
    feature: str = 'pred_instance_feat',
    title: str = '',
) -> Image.Image:
    """Draw queries and what each finds, from features that are already computed.

    Queries are spread evenly over the samples for which there is something to
    find.

    Args:
        samples: N samples with ``feature``.
        load_picture: returns the picture of the sample at an index.
        num_queries: number of rows of the sheet.
        num_results: number of results of each query.
        protocol: right results have the same product_id (``fine``) or the same
            category (``m5``).
        feature: field to search with.
        title: heading.

    Raises:
        ValueError: the protocol is unknown.
        NothingToFind: no sample has another one of its product or category.
    """
    if protocol not in RIGHT:
        raise ValueError(f'unknown protocol {protocol!r}, one of {tuple(RIGHT)}')
    key = RIGHT[protocol]
    labels = [sample.get(key) for sample in samples]
    known = Counter(label for label in labels if label is not None)
    able = [index for index, label in enumerate(labels) if known[label] > 1]
    if not able:
        raise NothingToFind(
            f'none of {len(samples)} pictures has another one of the same {key} to find; '
            'draw a larger set, or another protocol'
        )
    queries = [able[place] for place in spread_indices(len(able), num_queries)]
    feats = np.stack([sample.get(feature).float().numpy() for sample in samples])
    _, ranked = topk_similarity(feats[queries], feats, num_results, exclude=queries)
    rows = []
    for query, found in zip(queries, ranked, strict=True):
        rows.append(
            dict(
                image=load_picture(query),
                title=str(labels[query]),
                prompt=samples[query].text,
                results=[
                    dict(
                        image=load_picture(index),
                        title=f'{rank}  {labels[index] or "–"}',
                        right=labels[index] == labels[query],
                    )
                    for rank, index in enumerate(found, 1)
                    if index >= 0
                ],
            )
        )
    about = f'right: the same {key}; {len(samples)} pictures, {feature}'
    return retrieval_sheet(rows, num_results, title=title, note=about)
