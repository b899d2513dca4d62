"""Names of a catalogue as text features: for negative queries and for class prompts."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from eclip_mm.datasets.catalogue import read_catalogue
from eclip_mm.datasets.catalogue_dataset import CatalogueDataset
from eclip_mm.datasets.transforms.text import TokenizeText


@torch.no_grad()
def encode_token_ids(
    model: nn.Module, token_ids: Sequence[Sequence[int]], batch_size: int = 256
) -> Tensor:
    """Text features of tokenised texts, without dropout.

    Args:
        model: an ``ECLIP``; it stays in its mode.
        token_ids: ids of N texts.
        batch_size: number of texts at a time.

    Returns:
        (N, D) float32 L2-normalised, on the model's device.
    """
    device, training = model.logit_scale.device, model.training
    model.eval()
    feats = [torch.empty(0, model.network.embed_dims, device=device)]
    for start in range(0, len(token_ids), batch_size):
        ids = [torch.as_tensor(text) for text in token_ids[start : start + batch_size]]
        masks = [torch.ones_like(text) for text in ids]
        inputs = (pad_sequence(part, batch_first=True).to(device) for part in (ids, masks))
        feats.append(model.network.encode_text(*inputs).float())
    model.train(training)
    return torch.cat(feats)


def prepare_negatives(model: nn.Module, dataset: Dataset, refresh: bool = False) -> None:
    """Encode the names of ``CatalogueNegatives`` before data is predicted.

    The names are the texts of ``negative_queries.catalogue``, or of the
    catalogues of the data set without those parts whose texts name several
    products (``one_product=False``). Nothing happens if the model has other
    negative queries or none.

    Args:
        model: an ``ECLIP``.
        dataset: the data, such as ``ProductImageDataset``, or several of these
            in a ``ConcatDataset``. Its pipeline tokenises the names.
        refresh: encode names again that the model already has from the same
            catalogues, since its weights may have changed.

    Raises:
        ValueError: there is no catalogue, no tokenizer in the pipeline, or
            only one name.
    """
    parts = [part for part in _parts(dataset) if isinstance(part, CatalogueDataset)]
    named = [part for part in parts if getattr(part, 'one_product', True)]
    set_names(
        model,
        [part.catalogue_path for part in named],
        (text for part in named for text in part.catalogue.texts()),
        [part.pipeline for part in parts],
        refresh,
    )


def set_names(
    model: nn.Module,
    origin: Sequence,
    texts: Iterable[str],
    pipelines: Sequence,
    refresh: bool = False,
) -> None:
    """:func:`prepare_negatives` for a catalogue that is no data set.

    Texts of the same tokens are one name, since the text tower cannot
    distinguish them.

    Args:
        model: an ``ECLIP``.
        origin: what the texts are of; empty if there are none.
        texts: texts in the order of the catalogue; read only if they are
            needed.
        pipelines: pipelines of the data; the first ``TokenizeText`` in them
            tokenises the texts.
        refresh: as for :func:`prepare_negatives`.
    """
    queries = getattr(model, 'negative_queries', None)
    if queries is None or not queries.in_use.takes_names:
        return
    source = queries.in_use
    if source.catalogue is not None:
        origin, texts = [source.catalogue], _texts_of(source.catalogue)
    elif not origin:
        raise ValueError(
            f'{type(source).__name__} takes its names from the catalogue of the data, which has '
            'none whose texts name one product each: set negative_queries.catalogue to the path '
            'of a catalogue'
        )
    if source.origin == origin and not refresh:
        return
    steps = (step for pipe in pipelines for step in getattr(pipe, 'transforms', [pipe]))
    tokenize = next((step for step in steps if isinstance(step, TokenizeText)), None)
    if tokenize is None:
        raise ValueError(
            f'{type(source).__name__} needs the tokenizer of the data, but no catalogue of the '
            'data has TokenizeText in its pipeline: add it'
        )
    token_ids = dict.fromkeys(tuple(tokenize(dict(text=text))['input_ids']) for text in texts)
    source.set_names(encode_token_ids(model, list(token_ids)), origin)
    paths = ', '.join(map(str, origin))
    print_log(f'Negative queries: {len(token_ids)} different names of {paths}', logger='current')


def _texts_of(catalogue) -> Iterator[str]:
    yield from read_catalogue(catalogue, check_files=False).texts()


def _parts(dataset: Dataset) -> Iterator[Dataset]:
    """The data sets inside ``ConcatDataset``, ``Subset`` and other wrappers."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _parts(part)
    elif isinstance(getattr(dataset, 'dataset', None), Dataset):
        yield from _parts(dataset.dataset)
    else:
        yield dataset
