"""Predictions of a trained model on chosen items of a data set."""

from collections.abc import Iterator, Sequence

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from eclip_mm.apis.catalogue_names import prepare_negatives
from eclip_mm.checkpoint import safe_loading
from eclip_mm.config.errors import explain_checkpoint_errors, name_config_in_errors
from eclip_mm.config.feature_cache import read_pictures
from eclip_mm.config.from_checkpoint import complete_from_checkpoint, without_pretrained
from eclip_mm.config.loading import load_config
from eclip_mm.datasets.collate import collate_products, first_pictures
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample


def load_model(cfg: Config, checkpoint: str, device: str = 'cpu') -> nn.Module:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode.

    Initial weights that the config names (``pretrained``) are not read.
    """
    safe_loading.install()
    init_default_scope('eclip_mm')
    model_cfg = without_pretrained(cfg.model)
    if cfg.get('data_preprocessor') is not None:  # Runner takes it beside the model as well
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    return model.to(device).eval()


def load_config_and_model(
    config: str,
    checkpoint: str,
    options: dict | None = None,
    catalogue: str | None = None,
    device: str = 'cpu',
) -> tuple[Config, nn.Module]:
    """Load a config and the model of a checkpoint.

    Its data sets read pictures, also where the training read a feature cache.

    Args:
        config: config of the training, or one of configs/evaluation, which
            takes model and pipeline from the checkpoint.
        checkpoint: checkpoint file.
        options: dotted key -> value, changes of the config.
        catalogue: catalogue of data sets that an evaluation config leaves
            open.
        device: device of the model.
    """
    saved = {}

    def complete(cfg):
        saved.update(complete_from_checkpoint(cfg, catalogue, checkpoint))

    with name_config_in_errors(config):
        cfg = load_config(config, options, complete)
        read_pictures(cfg)
        with explain_checkpoint_errors(cfg, saved):
            return cfg, load_model(cfg, checkpoint, device)


def split_datasets(dataset: Dataset) -> dict[str, Dataset]:
    """Return the parts of a concatenated data set by the name of their split.

    A data set that is not concatenated is its only part. If a part has no name
    or two have the same, all are named by their numbers.
    """
    parts = getattr(dataset, 'datasets', None) or [dataset]
    names = [getattr(part, 'split', '') for part in parts]
    if len(set(names)) < len(names) or len(names) > 1 and '' in names:
        names = [str(number) for number in range(len(parts))]
    return dict(zip(names, parts, strict=True))


@torch.no_grad()
def predict_items(
    model: nn.Module,
    dataset: Dataset,
    indices: Sequence[int],
    batch_size: int = 64,
    num_workers: int = 0,
    names_from: Dataset | None = None,
) -> Iterator[tuple[torch.Tensor, ProductDataSample]]:
    """Predict some items, in the order of their indices.

    torch's global random state does not change.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        dataset: evaluation data set, such as ``ProductImageDataset``.
        indices: indices of the items.
        batch_size: number of items at a time.
        num_workers: processes that read pictures; 0 reads them in this one.
        names_from: the data that :func:`prepare_negatives` takes names from;
            None for ``dataset``. For one part of a test set, the whole gives
            the predictions of the test.

    Yields:
        The first picture, (3, H, W) uint8, and the sample with ``pred_*``.
    """
    prepare_negatives(model, dataset if names_from is None else names_from)
    loader = DataLoader(
        Subset(dataset, indices),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_products,
        generator=torch.Generator(),  # a loader draws a seed even without workers
    )
    for batch in loader:
        pictures = first_pictures(batch['inputs'])
        samples = model(**model.data_preprocessor(batch), mode='predict')
        yield from zip(pictures, samples, strict=True)
