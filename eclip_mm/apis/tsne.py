"""t-SNE of the features of several models, from one catalogue (Figure 5)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from eclip_mm.apis.prediction import predict_items
from eclip_mm.datasets import ProductImageDataset
from eclip_mm.evaluation.functional.separation import cluster_separation
from eclip_mm.utils.spread import spread_indices
from eclip_mm.visualization import plot_tsne, tsne_plane


def choose_samples(
    dataset: ProductImageDataset, num_products: int = 50, num_samples: int = 100
) -> list[int]:
    """Choose pictures of some products, spread evenly and the same for every model.

    Args:
        dataset: every picture of a catalogue.
        num_products: number of products, among those with at least two
            pictures.
        num_samples: maximal number of pictures of each product.

    Returns:
        Indices of items, ascending.

    Raises:
        ValueError: fewer than two products have two pictures.
    """
    _, starts, counts = np.unique(dataset.rows, return_index=True, return_counts=True)
    able = np.flatnonzero(counts > 1)
    if len(able) < 2:
        raise ValueError(
            f'{dataset.catalogue_path}: {len(able)} products have two pictures or more, at least '
            'two are needed; allow more sources or give another catalogue'
        )
    chosen = able[spread_indices(len(able), num_products)]
    return [
        int(starts[product]) + place
        for product in chosen
        for place in spread_indices(counts[product], num_samples)
    ]


def draw_tsne(
    models: Mapping[str, tuple[nn.Module, ProductImageDataset]],
    out_file: str | Path,
    num_products: int = 50,
    num_samples: int = 100,
    feature: str = 'pred_image_feat',
    perplexity: float = 30.0,
    seed: int = 0,
    title: str = '',
    **loading,
) -> dict[str, dict[str, float]]:
    """Draw one panel per model, with the same pictures in all of them.

    Args:
        models: name -> (model in evaluation mode, the catalogue's pictures
            from the model's own pipeline).
        out_file: picture to write.
        num_products, num_samples: see :func:`choose_samples`.
        feature: field of the sample. The default is the feature of the picture
            alone; an instance feature is prompted with the product's title,
            which all pictures of a product share.
        perplexity, seed: parameters of t-SNE.
        title: heading.
        **loading: ``batch_size`` and ``num_workers`` of
            :func:`~eclip_mm.apis.predict_items`.

    Returns:
        Name -> figures of
        :func:`~eclip_mm.evaluation.functional.separation.cluster_separation`.

    Raises:
        ValueError: the models' data sets have different pictures.
    """
    panels, products, pictures = {}, None, None
    for name, (model, dataset) in models.items():
        indices = choose_samples(dataset, num_products, num_samples)
        samples = [sample for _, sample in predict_items(model, dataset, indices, **loading)]
        feats = np.stack([sample.get(feature).float().numpy() for sample in samples])
        ids = [sample.image_ids[0] for sample in samples]
        if pictures not in (None, ids):
            raise ValueError(f'{name}: its pictures are not those of {next(iter(models))}')
        pictures, products = ids, [sample.product_id for sample in samples]
        panels[name] = (
            tsne_plane(feats, perplexity, seed),
            cluster_separation(feats, products),
        )
    note = (
        f'{len(set(products))} products, {len(products)} pictures; {feature}; t-SNE, perplexity '
        f'{perplexity:g}.\nOne colour and shape: one product. Figures: of the features '
        'themselves, by cosine, not of the plane.'
    )
    plot_tsne(panels, products, out_file, title, note)
    return {name: separation for name, (_, separation) in panels.items()}
